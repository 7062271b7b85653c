// Times of what a CUDA device did, by a pair of events around each range of queued work.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "engine/cuda_device.h"

namespace mettle {

/// Of one device. Not thread-safe.
class DeviceRanges {
 public:
  struct Range {
    const char* name = nullptr;
    const char* category = nullptr;
    std::string detail;
    Stream stream;
    void* from = nullptr;  // events
    void* to = nullptr;
  };
  /// Called with a range and its beginning and length in microseconds since the trace's.
  using Emit = std::function<void(const Range& range, double begin, double length)>;

  /// `clock()`: microseconds since the beginning of the trace. Waits for the device once, to know
  /// its time on that clock.
  DeviceRanges(CudaDevice& device, const std::function<double()>& clock);
  /// Gives up ranges that were not emitted.
  ~DeviceRanges();
  DeviceRanges(const DeviceRanges&) = delete;
  DeviceRanges& operator=(const DeviceRanges&) = delete;

  /// Queues an event on the stream.
  void* mark(const Stream& stream);
  /// Takes a range with its two events; emits the oldest ranges when there are many, by then done.
  void add(Range range, const Emit& emit);
  /// Waits for all ranges and emits them.
  void finish(const Emit& emit);

 private:
  void emit_oldest(const Emit& emit);

  CudaDevice& device_;
  void* base_;        // event
  double base_time_;  // on the clock of the trace
  std::deque<Range> pending_;
  std::vector<void*> spare_;  // events
};

}  // namespace mettle
