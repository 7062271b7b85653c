// The device's properties, read once when it is first used.
#include "kernels/cuda/device_limits.h"

#include "engine/cuda_device.h"

namespace mettle::kernels::cuda {

DeviceLimits device_limits(const Stream& stream) {
  const CudaDeviceInfo& info = cuda_device(stream.device).info();
  return {info.multiprocessors, 10 * info.major + info.minor, info.shared_bytes};
}

}  // namespace mettle::kernels::cuda
