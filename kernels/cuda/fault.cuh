// Reporting a bad value from a kernel: the first thread to find one writes the record, the others
// go on. A kernel that reports must have stayed inside of its memory and goes on doing so.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/fault.h"

namespace mettle::kernels::cuda {

METTLE_DEVICE void report_fault(const FaultReporter& to, std::int64_t position,
                                std::int64_t value) {
  if (dev::atomic_exchange(&to.record->claimed, 1u) != 0) return;
  to.record->position = position;
  to.record->value = value;
  to.record->extra = to.extra;
  to.record->explain = to.explain;
}

}  // namespace mettle::kernels::cuda
