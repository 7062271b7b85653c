// A reference-counted run of bytes on a device, with a version that counts in-place writes.
#pragma once

#include <atomic>
#include <cstddef>

#include "engine/allocator.h"
#include "engine/device.h"
#include "engine/live_count.h"
#include "engine/ref.h"

namespace mettle {

class Storage final : public RefCounted {
 public:
  /// Uninitialised memory of the device's allocator. Throws MemoryError, DeviceError.
  Storage(std::size_t bytes, Device device)
      : data_(mettle::allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {
    live_.add();
  }
  ~Storage() {
    live_.remove();
    mettle::allocator(device_).deallocate(data_, bytes_);
  }

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Number of in-place writes so far, and the operation that made the last one.
  std::uint32_t version() const { return version_.load(std::memory_order_relaxed); }
  const char* last_writer() const { return last_writer_; }
  void note_write(const char* operation) {
    last_writer_ = operation;
    version_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Storages alive in the process: tests of leaks compare it before and after.
  static std::size_t live_count() { return live_.total(); }

 private:
  void* data_;
  std::size_t bytes_;
  Device device_;
  std::atomic<std::uint32_t> version_{0};
  const char* last_writer_ = "";
  inline static LiveCount live_;
};

}  // namespace mettle
