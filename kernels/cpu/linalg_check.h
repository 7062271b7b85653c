// What the factorisations refuse, on every device.
#pragma once

#include "engine/dtype.h"

namespace mettle::kernels::cpu {

/// DTypeError unless the dtype is f64 or f32.
void check_linalg_dtype(DType dtype, const char* operation);

}  // namespace mettle::kernels::cpu
