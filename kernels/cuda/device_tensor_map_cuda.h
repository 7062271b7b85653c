// The CUDA side of make_tensor_map(). Host code, whose definition needs the toolkit.
#pragma once

#include "kernels/cuda/device_tensor_map.h"

namespace mettle::dev::detail {

/// Throws ValueError for a layout that the hardware does not take, DeviceError when there is no
/// driver or it refuses.
TensorMap encode_tensor_map(const TensorLayout& layout);

}  // namespace mettle::dev::detail
