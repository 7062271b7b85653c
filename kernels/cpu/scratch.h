// Working memory of one kernel call: on the stack when small, so that small problems allocate
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace mettle::kernels::cpu {

/// `size` uninitialised elements of a trivial type.
template <class T, std::size_t InlineBytes = 8192> class Scratch {
 public:
  explicit Scratch(std::int64_t size)
      : heap_(static_cast<std::size_t>(size) > inline_size
                  ? std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(size))
                  : nullptr) {}
  T* data() { return heap_ ? heap_.get() : inline_; }

 private:
  static constexpr std::size_t inline_size = InlineBytes / sizeof(T);
  T inline_[inline_size];
  std::unique_ptr<T[]> heap_;
};

}  // namespace mettle::kernels::cpu
