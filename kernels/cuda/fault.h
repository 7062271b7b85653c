// Where the kernels of a launch report bad values: host side. See fault.cuh for the kernels' side.
#pragma once

#include "engine/device.h"
#include "engine/device_fault.h"

namespace mettle::kernels::cuda {

/// Passed to a kernel by value.
struct FaultReporter {
  DeviceFault* record;
  FaultExplanation explain;
  std::int64_t extra;
};

/// `explain(position, value, extra)` throws the error, at the device's next synchronisation.
FaultReporter fault_reporter(const Stream& stream, FaultExplanation explain,
                             std::int64_t extra = 0);

}  // namespace mettle::kernels::cuda
