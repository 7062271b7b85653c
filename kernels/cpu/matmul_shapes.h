// What the CPU matrix products share: merging of batch axes and the single-matrix kernel.
#pragma once

#include "kernels/matmul.h"

namespace mettle::kernels::cpu {

/// One product C = A B + bias with any strides for A and B and dense columns for C.
template <class T> struct Matrices {
  std::int64_t m, n, k;
  const T* a;
  std::int64_t a_row, a_column;
  const T* b;
  std::int64_t b_row, b_column;
  T* c;
  std::int64_t c_row;
  const T* bias = nullptr;  // (n); null: zeros
};

/// Runs on the calling thread.
void product(const Matrices<float>& p);
void product(const Matrices<double>& p);

/// The same products with as few batch axes as possible: axes of extent 1 are dropped, neighbouring
/// axes that step evenly are merged, and a batch that shares B and the bias and continues the rows
/// of A becomes more rows.
MatmulArgs merge_batch(const MatmulArgs& args);

/// Offsets in elements of the operands of one product.
struct MatmulOffsets {
  std::int64_t a, b, bias;
};
/// Of product number `index` of merged axes.
MatmulOffsets batch_offsets(const MatmulArgs& args, std::int64_t index);

}  // namespace mettle::kernels::cpu
