// A CUDA device in use: its allocator, its streams, its record of faults, its copies to and from
// the host. Made at the first use of the device.
#pragma once

#include <atomic>

#include "engine/check.h"
#include "engine/cuda_allocator.h"
#include "engine/cuda_driver.h"
#include "engine/device_fault.h"

namespace mettle {

class CudaDevice {
 public:
  CudaDevice(std::shared_ptr<CudaDriver> driver, int index);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  CudaDriver& driver() const { return *driver_; }
  const CudaDeviceInfo& info() const { return info_; }
  CudaAllocator& allocator() { return allocator_; }
  const Stream& compute() const { return compute_; }
  const Stream& communication() const { return communication_; }
  /// Where kernels of this device note what they found wrong.
  DeviceFault* fault() const { return fault_; }

  /// The name of the operation that was queued last, for errors of the device.
  void note_operation(const char* name) { last_operation_ = name; }
  /// Until all work of the stream is done; throws what went wrong with it.
  void synchronize(const Stream& stream);
  /// Host memory of any kind to the device. Queued: `from` may change when the call returns.
  void upload(void* to, const void* from, std::size_t bytes, const Stream& stream);
  /// Waits for the bytes.
  void download(void* to, const void* from, std::size_t bytes, const Stream& stream);

 private:
  // Pinned memory that copies pass through; reused when the event behind its last copy is reached.
  struct Staging {
    std::byte* data = nullptr;
    void* event = nullptr;
    void* stream = nullptr;  // handle of the stream whose copies it holds
    std::size_t used = 0;
  };
  std::byte* stage(std::size_t bytes, const Stream& stream);
  void refuse_capture(const Stream& stream, const char* what);
  void throw_fault();
  /// Waits, and says in an error which operation was queued last.
  void wait(const Stream& stream) const;

  std::shared_ptr<CudaDriver> driver_;
  const int index_;
  const CudaDeviceInfo info_;
  Stream compute_, communication_;
  CudaAllocator allocator_;
  DeviceFault* fault_;
  std::atomic<const char*> last_operation_ = "";
  std::mutex staging_mutex_;
  Staging staging_[2];
  int current_ = 0;
};

/// Throws DeviceError with the reason when there is no such device.
CudaDevice& cuda_device(Device device);

}  // namespace mettle
