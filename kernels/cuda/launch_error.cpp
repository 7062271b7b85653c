// The error of a launch, as the engine's.
#include "kernels/cuda/launch_error.h"

#include "engine/check.h"

namespace mettle::dev {

void throw_launch_error(const char* what) {
  fail<DeviceError>("launch of a CUDA kernel: {}", what);
}

}  // namespace mettle::dev
