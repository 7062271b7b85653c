// Events in pairs, read when the device has passed them.
#include "engine/trace_device.h"

#include <cstddef>
#include <utility>

namespace mettle {
namespace {

// Ranges that wait to be read; the oldest of so many is almost always done.
constexpr std::size_t max_pending = 4096;

}  // namespace

DeviceRanges::DeviceRanges(CudaDevice& device, const std::function<double()>& clock)
    : device_(device), base_(device.driver().create_event(device.compute().device.index)) {
  device_.driver().record(base_, device_.compute());
  device_.driver().synchronize_event(base_);
  base_time_ = clock();
}

DeviceRanges::~DeviceRanges() {
  for (const Range& range : pending_) spare_.insert(spare_.end(), {range.from, range.to});
  spare_.push_back(base_);
  for (void* event : spare_) device_.driver().destroy_event(event);
}

void* DeviceRanges::mark(const Stream& stream) {
  if (spare_.empty()) spare_.push_back(device_.driver().create_event(stream.device.index));
  void* event = spare_.back();
  device_.driver().record(event, stream);
  spare_.pop_back();
  return event;
}

void DeviceRanges::add(Range range, const Emit& emit) {
  pending_.push_back(std::move(range));
  if (pending_.size() > max_pending) emit_oldest(emit);
}

void DeviceRanges::finish(const Emit& emit) {
  while (!pending_.empty()) emit_oldest(emit);
}

void DeviceRanges::emit_oldest(const Emit& emit) {
  const Range range = std::move(pending_.front());
  pending_.pop_front();
  spare_.insert(spare_.end(), {range.from, range.to});
  CudaDriver& driver = device_.driver();
  driver.synchronize_event(range.to);
  emit(range, base_time_ + 1e3 * driver.milliseconds(base_, range.from),
       1e3 * driver.milliseconds(range.from, range.to));
}

}  // namespace mettle
