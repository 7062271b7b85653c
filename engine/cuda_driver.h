// What the engine asks of CUDA, in one place: memory, streams, events, graphs, ranges for
// profilers. The allocator, the transfers and the graphs are written against it once and run on a
// GPU (cuda_runtime_driver.cpp) and on the emulated device (kernels/emulation/driver.h), where
// tests look for what they do wrong.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/device.h"

namespace mettle {

struct CudaDeviceInfo {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;
  std::size_t shared_bytes = 0;  // that one block can have
};

/// Handles of streams, events and graphs are the driver's own. Everything that is "queued" is done
/// later, in the order of its stream. Functions throw DeviceError with CUDA's words, unless they
/// are noexcept. Thread-safe.
class CudaDriver {
 public:
  virtual ~CudaDriver() = default;

  /// Number of usable devices; 0, and why in words, when there are none.
  virtual int device_count() const = 0;
  virtual std::string absence() const = 0;
  virtual CudaDeviceInfo info(int device) const = 0;

  // ---- memory: aligned to 256 bytes; null when there is no more of it
  virtual void* allocate(int device, std::size_t bytes) = 0;
  virtual void release(int device, void* block) noexcept = 0;
  /// Memory of the host that the device can read and write, and copies can be queued from.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* block) noexcept = 0;

  // ---- queued work; host memory must be pinned and stay until it is done
  virtual void copy(void* to, const void* from, std::size_t bytes, const Stream& stream) = 0;
  virtual void fill(void* to, int byte, std::size_t bytes, const Stream& stream) = 0;

  // ---- streams
  /// urgent: the device prefers its work.
  virtual Stream create_stream(int device, bool urgent) = 0;
  virtual void destroy(const Stream& stream) noexcept = 0;
  /// Until everything queued on the stream is done. Throws what went wrong with it.
  virtual void synchronize(const Stream& stream) = 0;

  // ---- events
  virtual void* create_event(int device) = 0;
  virtual void destroy_event(void* event) noexcept = 0;
  /// Queued: the event is reached when the work before it is done.
  virtual void record(void* event, const Stream& stream) = 0;
  /// Queued: what follows on the stream waits until the latest record() of the event is reached.
  virtual void wait(const Stream& stream, void* event) = 0;
  virtual void synchronize_event(void* event) = 0;
  /// Between two events that were reached.
  virtual double milliseconds(void* from, void* to) = 0;

  // ---- graphs
  /// Work queued on the stream from here on is noted, not done.
  virtual void begin_capture(const Stream& stream) = 0;
  virtual bool is_capturing(const Stream& stream) = 0;
  /// What was noted, ready to be launched; null when the capture is only to be given up.
  virtual void* end_capture(const Stream& stream) = 0;
  virtual void launch_graph(void* graph, const Stream& stream) = 0;
  virtual void destroy_graph(void* graph) noexcept = 0;

  // ---- ranges of this thread's time with names, for profilers (NVTX)
  virtual void push_range(const char* name) noexcept = 0;
  virtual void pop_range() noexcept = 0;
};

/// The driver in use: the GPU's in a build with METTLE_CUDA, else one without devices.
CudaDriver& cuda_driver();

/// Uses another driver from here on, for tests; null returns to the build's own. Throws DeviceError
/// while a tensor lives on a CUDA device.
void set_cuda_driver(std::shared_ptr<CudaDriver> driver);

}  // namespace mettle
