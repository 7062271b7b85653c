// What the factorisations refuse, on every device.
#include "kernels/cpu/linalg_check.h"

#include "engine/check.h"

namespace mettle::kernels::cpu {

void check_linalg_dtype(DType dtype, const char* operation) {
  METTLE_CHECK(DTypeError, dtype == DType::f64 || dtype == DType::f32,
               "{}: takes f64 or f32, got {}; convert with cast()", operation, to_string(dtype));
}

}  // namespace mettle::kernels::cpu
