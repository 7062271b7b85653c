// Where work is queued. Operations take the stream from their inputs' device and pass it to every
// kernel; nothing below this line guesses.
//
// On a CUDA device nothing waits inside an operation: work is queued and done in the order of its
// stream. Reading values on the host (Tensor::item, to_vector, to) waits, and so does
// synchronize().
#pragma once

#include "engine/device.h"

namespace mettle {

namespace detail {
Stream current_cuda_stream(Device device);
}

/// The stream on which this thread's operations on `device` run: that of the innermost StreamScope,
/// else the device's compute stream. On the CPU work runs in the caller.
inline Stream current_stream(Device device) {
  if (device.type == DeviceType::cpu) return {device, nullptr};
  return detail::current_cuda_stream(device);
}

/// The device's streams: for operations, and for communication that runs beside them.
Stream compute_stream(Device device);
Stream communication_stream(Device device);

/// Until the end of the scope this thread's operations on the stream's device run on it.
class StreamScope {
 public:
  explicit StreamScope(const Stream& stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Stream before_;
};

/// Until all work of the stream, of all streams of the device, is done. Throws what went wrong in
/// it: DeviceError, or the error of an operation that found a bad value on the device, such as an
/// id outside of its table.
void synchronize(const Stream& stream);
void synchronize(Device device);

/// A point in a stream. Waiting for an event that was never recorded does nothing.
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Stream& stream);
  /// What follows on the stream waits for the event.
  void wait(const Stream& stream) const;
  void synchronize() const;
  /// Time of the device between two events that have been reached.
  double milliseconds_since(const Event& earlier) const;

 private:
  Device device_;
  void* handle_ = nullptr;
};

}  // namespace mettle
