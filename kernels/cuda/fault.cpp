// The record of faults belongs to the device.
#include "kernels/cuda/fault.h"

#include "engine/cuda_device.h"

namespace mettle::kernels::cuda {

FaultReporter fault_reporter(const Stream& stream, FaultExplanation explain, std::int64_t extra) {
  return {cuda_device(stream.device).fault(), explain, extra};
}

}  // namespace mettle::kernels::cuda
