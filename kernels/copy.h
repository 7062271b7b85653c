// Strided copy with conversion of the element type: contiguous(), cast(), pad and friends. Constant
// and counting fills.
#pragma once

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// y[i] = convert(x[i]) for every index of `shape`. Strides in elements; y must not overlap x or
/// itself. Floating to integer truncates towards zero; anything to bool is "not zero".
struct CopyArgs {
  const void* x;
  void* y;
  DType x_dtype;
  DType y_dtype;
  Shape shape;
  Strides x_strides;
  Strides y_strides;
};

inline Slot<CopyArgs> copy{"copy"};

/// y[i] = value, converted, for a dense run of n elements.
struct FillArgs {
  void* y;
  DType dtype;
  std::int64_t n;
  double value;
};

inline Slot<FillArgs> fill{"fill"};

/// y[i] = i for a dense run of n elements.
struct ArangeArgs {
  std::int64_t* y;
  std::int64_t n;
};

inline Slot<ArangeArgs> arange{"arange"};

}  // namespace mettle::kernels
