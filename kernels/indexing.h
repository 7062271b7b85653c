// Look-up along one axis and its adjoint. Tensors are seen as (outer, axis, inner), dense.
#pragma once

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// Element (o, i, j) of the index lies at o * outer_stride + i * axis_stride + j * inner_stride.
/// Strides of 0 share one list of indices between many lines. Indices outside [0, size) are a
/// ValueError naming `operation`, thrown before anything is written; on a CUDA
/// device where the host next waits for it, and until then such an index reads 0 and adds nothing.
struct LineIndex {
  const char* operation;
  const std::int64_t* index;
  std::int64_t outer_stride, axis_stride, inner_stride;
};

/// y(o, i, j) = x(o, index(o, i, j), j), i < n. Any dtype.
struct GatherArgs {
  DType dtype;
  std::int64_t outer, size, n, inner;
  LineIndex at;
  const void* x;  // (outer, size, inner)
  void* y;        // (outer, n, inner)
};

inline Slot<GatherArgs> gather{"gather"};

/// y = 0, then y(o, index(o, i, j), j) += x(o, i, j) for i = 0, 1, ... n - 1 in this order.
struct ScatterAddArgs {
  DType dtype;  // f64 f32 i64 i32
  std::int64_t outer, size, n, inner;
  LineIndex at;
  const void* x;  // (outer, n, inner)
  void* y;        // (outer, size, inner)
};

inline Slot<ScatterAddArgs> scatter_add{"scatter_add"};

}  // namespace mettle::kernels
