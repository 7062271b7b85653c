// Working memory of one kernel call on a CUDA device.
#pragma once

#include <cstddef>

#include "engine/device.h"

namespace mettle::kernels::cuda {

/// `bytes` of uninitialised device memory, handed out in parts that are aligned to 256 bytes. Given
/// back at the end of the scope, while the kernels that use it still wait in the stream: whoever
/// gets the memory next queues behind them. Throws MemoryError.
class Scratch {
 public:
  Scratch(const Stream& stream, std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// What parts of these sizes need together.
  template <class... Sizes> static constexpr std::size_t sum(Sizes... part_bytes) {
    return (std::size_t{0} + ... + rounded(static_cast<std::size_t>(part_bytes)));
  }
  /// The next `count` elements; throws MemoryError beyond the end.
  template <class T> T* take(std::size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }

 private:
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
  void* take_bytes(std::size_t bytes);

  Device device_;
  std::byte* data_;
  std::size_t bytes_;
  std::size_t used_ = 0;
};

}  // namespace mettle::kernels::cuda
