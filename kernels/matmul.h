// Batched matrix products, and what is done to a result on its way to memory.
#pragma once

#include <optional>

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/bias_gelu.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// Z = A B + bias, and C = Z or C = gelu(Z).
struct MatmulEpilogue {
  const void* bias = nullptr;         // (n), dense, one for every index of the batch; null: zeros
  Strides bias_batch = {};            // in elements, for each axis of the batch
  std::optional<GeluForm> gelu = {};  // none: C = Z
  void* z = nullptr;                  // laid out as C; null: not wanted. Of a gelu only
};

/// C[b] = A[b] B[b], A (m, k), B (k, n), C (m, n) dense row-major, for every index b of `batch`.
/// Any strides for A and B; a batch stride of 0 shares one matrix between many products.
/// Products of 16-bit types accumulate in f32 and are rounded once, before a gelu and after it.
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
  MatmulEpilogue epilogue = {};
};

inline Slot<MatmulArgs> matmul{"matmul"};

}  // namespace mettle::kernels
