// The errors of dispatching on a dtype.
#include "engine/dtype.h"

#include "engine/check.h"

namespace mettle::detail {

void throw_not_floating(DType dtype, std::string_view operation) {
  fail<DTypeError>("{}: takes f64, f32, bf16 or f16, got {}; convert with cast()", operation,
                   to_string(dtype));
}

void throw_unknown_dtype(DType dtype) {
  fail<DTypeError>("unknown dtype {}", static_cast<int>(dtype));
}

}  // namespace mettle::detail
