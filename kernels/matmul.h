// Batched matrix products.
#pragma once

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// C[b] = A[b] B[b], A (m, k), B (k, n), C (m, n) dense row-major, for every index b of `batch`.
/// Any strides for A and B; a batch stride of 0 shares one matrix between many products.
/// Products of 16-bit types accumulate in f32 and are rounded once.
struct MatmulArgs {
  DType dtype;  // f64 f32 bf16 f16
  std::int64_t m, n, k;
  const void* a;
  const void* b;
  void* c;
  std::int64_t a_row, a_column;  // strides in elements
  std::int64_t b_row, b_column;
  Shape batch;
  Strides a_batch, b_batch;
};

inline Slot<MatmulArgs> matmul{"matmul"};

}  // namespace mettle::kernels
