// Matrix products by cuBLASLt.
#pragma once

#include "engine/device.h"
#include "kernels/matmul.h"

namespace mettle::kernels::cuda {

/// There is a library, an algorithm for the arguments, and more to do than what our own kernels are
/// faster at. It has no gelu of the erf form. Looks for the algorithm on device 0.
bool cublaslt_takes(const MatmulArgs& args);
/// Throws DeviceError when the library fails. `tf32`: products of f32 may look at 10 bits of the
/// mantissa.
void run_cublaslt(const Stream& stream, const MatmulArgs& args, bool tf32 = false);

}  // namespace mettle::kernels::cuda
