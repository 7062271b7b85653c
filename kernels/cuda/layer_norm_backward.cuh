// Layer norm, and dropout + residual + layer norm, backward. With xhat = (x - mean) rstd, g =
// gamma dy, and m(.) the mean over a row, Q = m(g xhat):
//   dx = rstd (g - m(g) - xhat Q),   dgamma = sum over rows of dy xhat,   dbeta = that of dy.
// Fused: dresidual = dx + ds, and dx = dropout(dresidual).
//
// Limit: memory. At 16 bits x and dy are read and dx is written, 6 bytes an element; fused s, dy
// and ds are read, dx and dresidual written, 10 bytes. One sweep: a block keeps x, dy and the sums
// of dgamma and dbeta over all of its rows in registers, and adds 8 D bytes of partial sums to the
// traffic: with two blocks of 8 warps a multiprocessor, 1.6 MB at D = 768, which stay in L2. About
// 25 instructions an element of the 50 that an H100 has time for. In flight: 16 warps with 3 KB
// each (at most 128 registers), three times what bandwidth times latency asks for.
#pragma once

#include <cstdint>

#include "kernels/cuda/dropout_factors.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace mettle::kernels::cuda {

/// kernels/layer_norm.h and kernels/dropout.h describe the operands.
template <class T> struct NormBackward {
  using A = accumulate_t<T>;
  GroupRows rows;
  std::int64_t columns;
  DropoutFactors<A> dropout;
  const T* x;
  const T* gamma;
  const A* mean;
  const A* rstd;
  const T* dy;
  const T* ds;  // fused only
  T* dx;
  T* dresidual;                // fused only
  ColumnSumsTo<T, 2> weights;  // dgamma, dbeta
};

/// Blocks that shall fit on a multiprocessor, for the compiler: 16 warps of the plain form.
template <class Tile, bool fused>
inline constexpr int norm_backward_blocks =
    Tile::by_warp && sizeof(typename Tile::T) == 2 && Tile::width > 1 && !fused ? 2 : 1;

/// What a row's dx is made of.
template <class A> struct NormSlope {
  A mean, rstd, mean_g, q;

  METTLE_DEVICE A operator()(A x, A gain, A dy) const {
    return rstd * (gain * dy - mean_g - (x - mean) * rstd * q);
  }
};

/// The means of a row; its share of dgamma and dbeta is added to `sums`.
template <class Tile, int count, class T = typename Tile::T, class A = typename Tile::A>
METTLE_DEVICE NormSlope<A> norm_slope(const NormBackward<T>& a, std::int64_t row, int turn,
                                      const RowOperands<Tile, count>& values,
                                      const RowOperands<Tile, 1>& gamma, ColumnSums<Tile, 2>& sums,
                                      A* shared) {
  const A mean = a.mean[row], rstd = a.rstd[row];
  A means[2] = {0, 0};
  Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
    A xhat[Tile::width], dy[Tile::width], gain[Tile::width];
    values.get(0, p, column, xhat);
    values.get(1, p, column, dy);
    gamma.get(0, p, column, gain);
    METTLE_UNROLL
    for (int i = 0; i < Tile::width; ++i) {
      xhat[i] = (xhat[i] - mean) * rstd;
      means[0] += gain[i] * dy[i];
      means[1] += gain[i] * dy[i] * xhat[i];
      xhat[i] *= dy[i];
    }
    if (sums.wanted(0)) sums.add(0, p, column, xhat);
    if (sums.wanted(1)) sums.add(1, p, column, dy);
  });
  Tile::row_sums(means, shared, turn);
  const A n = static_cast<A>(a.columns);
  return {mean, rstd, means[0] / n, means[1] / n};
}

template <class Tile, bool fused, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, (norm_backward_blocks<Tile, fused>))
void layer_norm_backward_rows(const NormBackward<T> a) {
  using A = typename Tile::A;
  METTLE_SHARED(A, shared, (Tile::template shared_values<2>));
  METTLE_SHARED(A, warps, (ColumnSums<Tile, 2>::shared_values));
  const int group = a.rows.group();
  ColumnSums<Tile, 2> sums(a.weights, a.columns);
  a.rows.template each_row<Tile>([&](std::int64_t row, int turn) {
    RowOperands<Tile, fused ? 3 : 2> values;
    values.load(a.columns, 0, row_at(a.x, row, a.columns));
    values.load(a.columns, 1, row_at(a.dy, row, a.columns));
    if constexpr (fused) values.load(a.columns, 2, row_at(a.ds, row, a.columns));
    RowOperands<Tile, 1> gamma;  // from L1; over all rows it would take twice the registers
    gamma.load(a.columns, 0, row_at(a.gamma, group, a.columns), A{1});
    const NormSlope<A> slope = norm_slope(a, row, turn, values, gamma, sums, shared);
    sums.next_row();
    T* dx = row_at(a.dx, row, a.columns);
    T* dresidual = fused ? row_at(a.dresidual, row, a.columns) : nullptr;
    if (!dx && !dresidual) return;
    Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
      A v[Tile::width], dy[Tile::width], gain[Tile::width];
      values.get(0, p, column, v);
      values.get(1, p, column, dy);
      gamma.get(0, p, column, gain);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) v[i] = slope(v[i], gain[i], dy[i]);
      if constexpr (fused) {
        A ds[Tile::width];
        values.get(2, p, column, ds);
        METTLE_UNROLL
        for (int i = 0; i < Tile::width; ++i) v[i] += ds[i];
        if (dresidual) store_pack(dresidual + column, v);
        const std::uint32_t keeps = a.dropout.template keeps<Tile::width>(row * a.columns + column);
        METTLE_UNROLL
        for (int i = 0; i < Tile::width; ++i) v[i] *= a.dropout.factor(keeps, i);
      }
      if (dx) store_pack(dx + column, v);
    });
  });
  sums.finish(warps, group);
}

}  // namespace mettle::kernels::cuda
