// How a kernel says that it found a bad value: an id outside of its table, a division by zero. It
// cannot throw; it notes the first one and goes on without touching anything outside of its memory,
// and the next synchronisation of the device throws the error that the CPU's kernel would have
// thrown.
#pragma once

#include <cstdint>

namespace mettle {

/// Throws the error. `extra` is what the host passed when it launched the kernel.
using FaultExplanation = void (*)(std::int64_t position, std::int64_t value, std::int64_t extra);

/// The first fault of a device since the last synchronisation: in host memory that kernels can
/// write.
struct DeviceFault {
  std::uint32_t claimed = 0;  // by the thread that writes the rest
  std::int64_t position = 0;
  std::int64_t value = 0;
  std::int64_t extra = 0;
  FaultExplanation explain = nullptr;  // written last; null: no fault
};

}  // namespace mettle
