// Layer norm, and dropout + residual + layer norm, forward.
//
// Limit: memory. Plain, a 16-bit row is read and written once, 4 bytes an element; fused, x and
// residual are read, their sum and y written, 8 bytes; f32 doubles both. Statistics add 8 bytes a
// row; gamma and beta come from L1. The variance is centred and taken from registers, as on the
// CPU. About 12 instructions an element, fused 30 (Philox), where an H100 has time for 35 and 70.
// In flight at D = 768 and 16 bits: 72 registers let 24 warps a multiprocessor wait for a row each,
// 36 KB, twice what bandwidth times latency asks for; fused 16 warps for two rows, 48 KB.
#pragma once

#include <cstdint>

#include "kernels/cuda/dropout_factors.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace mettle::kernels::cuda {

/// kernels/layer_norm.h and kernels/dropout.h describe the operands.
template <class T> struct NormForward {
  using A = accumulate_t<T>;
  GroupRows rows;
  std::int64_t columns;
  A eps;
  DropoutFactors<A> dropout;
  const T* x;
  const T* residual;  // fused only, null: zeros
  const T* gamma;
  const T* beta;
  T* s;  // fused only, null: not wanted, which streamed tiles take only where s is x
  T* y;
  A* mean;
  A* rstd;
};

/// Operand 0 becomes residual (operand 1) + dropout(x), rounded as it is stored in s.
template <class Tile, class T = typename Tile::T>
METTLE_DEVICE void add_residual(const NormForward<T>& a, std::int64_t row,
                                RowOperands<Tile, 2>& operands) {
  using A = typename Tile::A;
  T* s = row_at(a.s, row, a.columns);
  if (!s) return;  // plain
  Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
    A x[Tile::width], sum[Tile::width];
    operands.get(0, p, column, x);
    operands.get(1, p, column, sum);
    const std::uint32_t keeps = a.dropout.template keeps<Tile::width>(row * a.columns + column);
    METTLE_UNROLL
    for (int i = 0; i < Tile::width; ++i) sum[i] += x[i] * a.dropout.factor(keeps, i);
    operands.set(0, p, sum);
    store_pack(s + column, sum);
  });
  if constexpr (!Tile::held) operands.load(a.columns, 0, s);
}

template <class Tile, bool fused, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, 1)
void layer_norm_forward_rows(const NormForward<T> a) {
  using A = typename Tile::A;
  METTLE_SHARED(A, shared, (Tile::template shared_values<1>));
  const A n = static_cast<A>(a.columns);
  const int group = a.rows.group();
  a.rows.template each_row<Tile>([&](std::int64_t row, int) {
    RowOperands<Tile, fused ? 2 : 1> values;
    values.load(a.columns, 0, row_at(a.x, row, a.columns));
    if constexpr (fused) {
      values.load(a.columns, 1, row_at(a.residual, row, a.columns));
      add_residual<Tile>(a, row, values);
    }
    // From L1, on their way while the statistics are made.
    RowOperands<Tile, 2> weights;
    weights.load(a.columns, 0, row_at(a.gamma, group, a.columns), A{1});
    weights.load(a.columns, 1, row_at(a.beta, group, a.columns));
    A v[Tile::width], sum[1] = {0}, squares[1] = {0};
    Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
      values.get(0, p, column, v);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) sum[0] += v[i];
    });
    Tile::row_sums(sum, shared, 0);
    const A mean = sum[0] / n;
    Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
      values.get(0, p, column, v);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) squares[0] += (v[i] - mean) * (v[i] - mean);
    });
    Tile::row_sums(squares, shared, 1);
    const A rstd = dev::reciprocal_sqrt(squares[0] / n + a.eps);
    T* y = a.y + row * a.columns;
    Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
      A gain[Tile::width], shift[Tile::width];
      values.get(0, p, column, v);
      weights.get(0, p, column, gain);
      weights.get(1, p, column, shift);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) v[i] = (v[i] - mean) * rstd * gain[i] + shift[i];
      store_pack(y + column, v);
    });
    if (Tile::thread() == 0) {
      if (a.mean) a.mean[row] = mean;
      if (a.rstd) a.rstd[row] = rstd;
    }
  });
}

}  // namespace mettle::kernels::cuda
