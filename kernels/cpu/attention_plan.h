// What the attention kernels of the CPU share apart from arithmetic: the cut into tasks and aligned
// work buffers. The cut depends on the problem only, so results do not depend on
// threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "engine/check.h"
#include "kernels/attention.h"
#include "kernels/cpu/attention_check.h"

namespace mettle::kernels::cpu::attention {

/// Query rows [first, last) of head (b, h).
struct Stretch {
  std::int64_t b, h, first, last;
};

/// Cuts (heads) x (query rows) into tasks. A head is one task unless heads are so few that threads
/// would idle; then it is cut into stretches of at least `min_rows` rows, and gradients of k and v
/// are summed over the stretches afterwards, in order. There are never more than B * H + `few`
/// tasks.
class Plan {
 public:
  static constexpr std::int64_t few = 32;
  static constexpr std::int64_t min_rows = 128;
  static constexpr std::int64_t flop_per_chunk = 1 << 20;

  /// `units`: matrix products of 2 Nq Nk D flop that the kernel makes per head.
  Plan(const AttentionProblem& problem, int units);

  std::int64_t tasks() const { return heads_ * stretches_; }
  std::int64_t stretches() const { return stretches_; }
  /// Tasks that are worth one trip to the thread pool.
  std::int64_t chunk() const { return chunk_; }
  Stretch operator[](std::int64_t task) const;

 private:
  std::int64_t heads_, heads_per_batch_, queries_, stretches_, rows_, chunk_;
};

/// Uninitialised memory for `count` elements, aligned to a cache line. Throws MemoryError.
template <class T> class WorkBuffer {
 public:
  explicit WorkBuffer(std::int64_t count) {
    const auto bytes = sizeof(T) * static_cast<std::size_t>(std::max<std::int64_t>(count, 1));
    data_.reset(static_cast<T*>(::operator new(bytes, alignment, std::nothrow)));
    METTLE_CHECK(MemoryError, data_, "attention: no memory for a work buffer of {} bytes", bytes);
  }
  T* data() const { return data_.get(); }
  T& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace mettle::kernels::cpu::attention
