// The memory of the emulated device. Addresses are never handed out twice, so that a stale pointer
// is recognised for ever; new memory is filled with NaN; 256 bytes around an allocation belong to
// nobody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "kernels/emulation/shadow.h"

namespace mettle::emulation {

struct Allocation {
  std::byte* start;
  std::size_t bytes;
  int number;  // from 1, in the order of allocation
  bool released = false;
  Shadow shadow;
};

class DeviceHeap {
 public:
  DeviceHeap();
  DeviceHeap(const DeviceHeap&) = delete;
  DeviceHeap& operator=(const DeviceHeap&) = delete;
  ~DeviceHeap();

  /// Aligned to 256 bytes, like cudaMalloc. Throws MemoryError when the address range is used up.
  void* allocate(std::size_t bytes);
  /// Throws ValueError unless `pointer` is a live allocation; null is ignored.
  void release(void* pointer);

  /// Out of reach of everybody, and back: host code that follows a device pointer then ends with a
  /// segmentation fault. Takes time for every page in use.
  void hide();
  void show();

  /// Some bytes within reach while it lives, though the rest is hidden.
  class Visible {
   public:
    /// Of a null heap: nothing.
    Visible(DeviceHeap* heap, const void* start, std::size_t bytes);
    Visible(const Visible&) = delete;
    Visible& operator=(const Visible&) = delete;
    ~Visible();

   private:
    std::byte* from_ = nullptr;
    std::size_t bytes_ = 0;  // of whole pages; 0: nothing was hidden
  };

  bool contains(const void* address) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    return at - reinterpret_cast<std::uintptr_t>(base_) < reserved_bytes;
  }
  /// The allocation that the address is in or, for one in none, nearest to; null when there are
  /// none. `address` must be inside the heap.
  Allocation* nearest(const void* address);

 private:
  // Address space only: pages are made accessible as the heap grows.
  static constexpr std::size_t reserved_bytes = std::size_t{16} << 30;
  static constexpr std::size_t red_zone = 256;

  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  std::size_t accessible_ = 0;
  bool hidden_ = false;
  std::map<const std::byte*, std::unique_ptr<Allocation>> allocations_;  // by their start
  Allocation* last_ = nullptr;  // what nearest() found before
};

}  // namespace mettle::emulation
