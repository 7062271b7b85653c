// Where work is queued. Operations take the stream from their inputs' device and pass it to every
// kernel; nothing below this line guesses.
#pragma once

#include "engine/device.h"

namespace mettle {

/// The stream on which this thread's operations on `device` run. On the CPU work runs in the
/// caller.
inline Stream current_stream(Device device) { return {device, nullptr}; }

}  // namespace mettle
