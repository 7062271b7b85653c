// Which device a kernel test runs on. The same tests are linked into one program for each: the CPU
// (under_test_cpu.cpp), the emulated device (under_test_emulated.cpp).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/exec.h"
#include "engine/storage.h"
#include "engine/transfer.h"

namespace mettle::test {

/// Of this program.
Device device_under_test();

/// Until the end of the scope buffers are made and kernels run on the CPU: for the f64 oracle. The
/// kernels of the CPU cannot touch buffers of another device.
class OnCpu {
 public:
  OnCpu() { ++depth; }
  ~OnCpu() { --depth; }
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;
  static bool active() { return depth > 0; }

 private:
  inline static thread_local int depth = 0;
};

inline Device current_device() { return OnCpu::active() ? Device::cpu() : device_under_test(); }
/// What kernels are called with.
inline Stream stream_under_test() { return current_stream(current_device()); }

/// Bytes on the current device. A copy has bytes of its own, on the same device.
class TestMemory {
 public:
  explicit TestMemory(std::size_t bytes) : device_(current_device()) {
    if (device_ == Device::cpu()) {
      host_.resize(bytes);  // not from the allocator: the address sanitizer knows its end
    } else {
      storage_ = Ref<Storage>(new Storage(bytes, device_));
    }
  }
  TestMemory(const TestMemory& other) : device_(other.device_), host_(other.host_) {
    if (!other.storage_) return;
    storage_ = Ref<Storage>(new Storage(other.bytes(), device_));
    copy_bytes(data(), device_, other.data(), device_, bytes());
  }
  TestMemory(TestMemory&&) = default;
  TestMemory& operator=(TestMemory other) noexcept {
    std::swap(device_, other.device_);
    std::swap(host_, other.host_);
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~TestMemory() = default;

  std::uint8_t* data() const {
    return storage_ ? static_cast<std::uint8_t*>(storage_->data())
                    : const_cast<std::uint8_t*>(host_.data());
  }
  std::size_t bytes() const { return storage_ ? storage_->bytes() : host_.size(); }
  void write(const void* from, std::size_t bytes) {
    copy_bytes(data(), device_, from, Device::cpu(), bytes);
  }
  void read(void* to, std::size_t bytes) const {
    copy_bytes(to, Device::cpu(), data(), device_, bytes);
  }

 private:
  Device device_;
  std::vector<std::uint8_t> host_;
  Ref<Storage> storage_;
};

}  // namespace mettle::test
