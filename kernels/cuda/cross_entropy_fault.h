// How the cross-entropy kernels report a target that is no class.
#pragma once

#include "kernels/cross_entropy.h"
#include "kernels/cuda/fault.h"

namespace mettle::kernels::cuda {

/// The next synchronisation throws the CPU's error for the position and target reported.
FaultReporter cross_entropy_fault(const Stream& stream, const CrossEntropyRows& of);

}  // namespace mettle::kernels::cuda
