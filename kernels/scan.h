// Running sums along one axis.
#pragma once

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// y(o, i, j) = x(o, 0, j) + ... + x(o, i, j), dense (outer, n, inner). Sums run in f32 (f64 for
/// f64, i64 for integers) and are rounded where they are stored.
struct CumsumArgs {
  DType dtype;  // f64 f32 bf16 f16 i64 i32
  std::int64_t outer, n, inner;
  const void* x;
  void* y;
};

inline Slot<CumsumArgs> cumsum{"cumsum"};

}  // namespace mettle::kernels
