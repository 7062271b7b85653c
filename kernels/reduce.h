// Sums and extrema over axes.
#pragma once

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

enum class ReduceOp : std::uint8_t { sum, max, min };

/// y = reduction of x over the axes whose bit is set in `reduced`; y is dense over the axes that
/// remain. Sums run in f32 (f64 for f64, i64 for integers), in an order that depends on shape
/// and strides only. The sum of nothing is 0; max and min need at least one element per output. max
/// or min of a NaN is NaN.
struct ReduceArgs {
  ReduceOp op;
  DType dtype;  // f64 f32 bf16 f16 i64 i32
  const void* x;
  void* y;
  Shape shape;
  Strides x_strides;
  std::uint32_t reduced;  // bit i: axis i
};

inline Slot<ReduceArgs> reduce{"reduce"};

}  // namespace mettle::kernels
