// The CPU allocator: size classes with four steps per power of two (at most 25 % waste), one free
// list per class, a bound on cached bytes, and an optional bound on live bytes.
#include <array>
#include <bit>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "engine/allocator.h"
#include "engine/check.h"

namespace mettle {
namespace {

constexpr std::size_t alignment = 64;
constexpr int steps = 4;  // classes per power of two

struct SizeClass {
  std::size_t index;
  std::size_t bytes;
};

// Classes are 64 * 2^e * (1 + s/4), s = 0..3: sizes between two classes take the larger.
SizeClass size_class(std::size_t bytes) {
  const std::size_t units = (bytes + alignment - 1) / alignment;
  if (units <= steps) return {units, units * alignment};
  const int e = std::bit_width(units - 1) - 3;  // units lies in (4 * 2^e, 8 * 2^e]
  const std::size_t step = std::size_t{1} << e;
  const std::size_t quarter = (units + step - 1) / step;  // 5..8
  return {static_cast<std::size_t>(e) * steps + quarter, quarter * step * alignment};
}

class CpuAllocator final : public Allocator {
 public:
  ~CpuAllocator() override { trim(); }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    METTLE_CHECK(MemoryError, bytes <= max_request, "allocate: {} bytes is beyond any machine",
                 bytes);
    const SizeClass c = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      METTLE_CHECK(
          MemoryError, c.bytes <= live_limit_ - std::min(live_limit_, stats_.live_bytes),
          "allocate: {} bytes would pass the limit of {} with {} live; use smaller batches "
          "or raise it with set_limits()",
          bytes, live_limit_, stats_.live_bytes);
      ++stats_.allocations;
      if (auto& list = free_[c.index]; !list.empty()) {
        void* block = list.back();
        list.pop_back();
        stats_.cached_bytes -= c.bytes;
        note_live(c.bytes);
        return block;
      }
    }
    void* block = system_allocate(c.bytes);
    const std::lock_guard lock(mutex_);
    ++stats_.system_calls;
    note_live(c.bytes);
    return block;
  }

  void deallocate(void* block, std::size_t bytes) noexcept override {
    if (!block) return;
    const SizeClass c = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      stats_.live_bytes -= c.bytes;
      --stats_.live_blocks;
      if (stats_.cached_bytes + c.bytes <= cached_limit_ && remember(free_[c.index], block)) {
        stats_.cached_bytes += c.bytes;
        return;
      }
    }
    std::free(block);
  }

  AllocatorStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void trim() noexcept override {
    const std::lock_guard lock(mutex_);
    for (auto& list : free_) {
      for (void* block : list) std::free(block);
      list.clear();
    }
    stats_.cached_bytes = 0;
  }

  void set_limits(std::size_t live_bytes, std::size_t cached_bytes) override {
    {
      const std::lock_guard lock(mutex_);
      live_limit_ = live_bytes;
      cached_limit_ = cached_bytes;
      if (stats_.cached_bytes <= cached_limit_) return;
    }
    trim();
  }

 private:
  static constexpr std::size_t max_request = std::size_t{1} << 46;

  void note_live(std::size_t bytes) {
    stats_.live_bytes += bytes;
    ++stats_.live_blocks;
    stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
  }

  // Growing the free list can itself run out of memory: then the block is simply not cached.
  static bool remember(std::vector<void*>& list, void* block) noexcept {
    try {
      list.push_back(block);
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  void* system_allocate(std::size_t bytes) {
    if (void* block = std::aligned_alloc(alignment, bytes)) return block;
    trim();
    if (void* block = std::aligned_alloc(alignment, bytes)) return block;
    const AllocatorStats s = stats();
    fail<MemoryError>("allocate: the system has no {} bytes left ({} live in {} blocks)", bytes,
                      s.live_bytes, s.live_blocks);
  }

  mutable std::mutex mutex_;
  std::array<std::vector<void*>, 48 * steps> free_;
  AllocatorStats stats_;
  std::size_t live_limit_ = std::numeric_limits<std::size_t>::max();
  std::size_t cached_limit_ = std::size_t{512} << 20;
};

}  // namespace

Allocator& allocator(Device device) {
  // Never destroyed: tensors in other static objects may outlive any order of destruction.
  static auto* cpu = new CpuAllocator;
  METTLE_CHECK(DeviceError, device == Device::cpu(),
               "{}: this build has no CUDA back end; use the cpu device", to_string(device));
  return *cpu;
}

}  // namespace mettle
