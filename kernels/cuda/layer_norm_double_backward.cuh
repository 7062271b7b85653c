// Layer norm, and dropout + residual + layer norm, double backward; the derivation stands in
// kernels/cpu/layer_norm-inl.h. With u the cotangent of dx, c and e those of dgamma and dbeta, r =
// rstd, g = gamma dy, P = m(u xhat), Q = m(g xhat), S = m(u g) - m(u) m(g) - P Q:
//   w = r (u - m(u) - xhat P),   ddy = gamma w + c xhat + e,   dgamma2 = sum over rows of dy w,
//   h = c dy - r (Q u + P g),    dx2 = r (h - m(h) - xhat (m(h xhat) + r S)).
// Fused: u = ddresidual + dropout(ddx), which is also dds; dresidual2 is the dx2 above, and the dx2
// that goes to x is its dropout.
//
// Limit: memory. At 16 bits x, dy and ddx are read, dx2 and ddy written, 10 bytes an element; fused
// 8 rows, 16 bytes. All seven row sums in one sweep over registers. About 50 instructions an
// element of the 85 that an H100 has time for. In flight: 8 warps or more with three rows each, 37
// KB at D = 768, more than twice what bandwidth times latency asks for.
#pragma once

#include <cstdint>

#include "kernels/cuda/dropout_factors.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace mettle::kernels::cuda {

/// kernels/layer_norm.h and kernels/dropout.h describe the operands.
template <class T> struct NormDoubleBackward {
  using A = accumulate_t<T>;
  GroupRows rows;
  std::int64_t columns;
  DropoutFactors<A> dropout;
  const T* x;
  const T* gamma;
  const A* mean;
  const A* rstd;
  const T* dy;
  const T* ddx;
  const T* ddresidual;  // fused only
  const T* ddgamma;
  const T* ddbeta;
  T* dx2;
  T* dresidual2;  // fused only
  T* ddy;
  T* dds;                      // fused only
  ColumnSumsTo<T, 1> weights;  // dgamma2
};

/// u of one row, and which elements dropout keeps, where both are needed twice: in registers, or
/// made again.
template <class Tile, bool fused> class Cotangent {
  using T = typename Tile::T;
  using A = typename Tile::A;

 public:
  METTLE_DEVICE Cotangent(const NormDoubleBackward<T>& a, std::int64_t row)
      : a_(a), first_(row * a.columns) {
    of_.load(a.columns, 0, row_at(a.ddx, row, a.columns));
    if constexpr (fused) of_.load(a.columns, 1, row_at(a.ddresidual, row, a.columns));
  }
  /// For the first sweep.
  METTLE_DEVICE void make(int p, std::int64_t column, A (&u)[Tile::width]) {
    of_.get(0, p, column, u);
    if constexpr (fused) {
      const std::uint32_t keeps = a_.dropout.template keeps<Tile::width>(first_ + column);
      keeps_ |= keeps << (p * Tile::width);
      add(p, column, keeps, u);
    }
  }
  /// For the second; returns the bits of dropout.
  METTLE_DEVICE std::uint32_t get(int p, std::int64_t column, A (&u)[Tile::width]) const {
    std::uint32_t keeps = 0;
    of_.get(0, p, column, u);
    if constexpr (fused) {
      keeps = Tile::held ? keeps_ >> (p * Tile::width)
                         : a_.dropout.template keeps<Tile::width>(first_ + column);
      add(p, column, keeps, u);
    }
    return keeps;
  }

 private:
  static_assert(Tile::packs * Tile::width <= 32);

  METTLE_DEVICE void add(int p, std::int64_t column, std::uint32_t keeps,
                         A (&u)[Tile::width]) const {
    if constexpr (fused) {
      A direct[Tile::width];
      of_.get(1, p, column, direct);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) u[i] = direct[i] + u[i] * a_.dropout.factor(keeps, i);
    }
  }

  const NormDoubleBackward<T>& a_;
  std::int64_t first_;
  RowOperands<Tile, fused ? 2 : 1> of_;
  std::uint32_t keeps_ = 0;
};

/// The means over a row, in the symbols above; cdy is c dy.
template <class A> struct NormDoubleMeans { A u, g, ug, p, q, cdy, cdyx; };

/// Gamma is weight 0, c = ddgamma weight 1, e = ddbeta weight 2; x is value 0, dy value 1.
template <class Tile, bool fused, class T = typename Tile::T, class A = typename Tile::A>
METTLE_DEVICE NormDoubleMeans<A> norm_double_means(const NormDoubleBackward<T>& a, A mean, A rstd,
                                                   int turn, const RowOperands<Tile, 2>& values,
                                                   Cotangent<Tile, fused>& cotangent,
                                                   const RowOperands<Tile, 3>& weights, A* shared) {
  A sums[7] = {};
  Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
    A x[Tile::width], dy[Tile::width], u[Tile::width], gain[Tile::width], c[Tile::width];
    values.get(0, p, column, x);
    values.get(1, p, column, dy);
    cotangent.make(p, column, u);
    weights.get(0, p, column, gain);
    weights.get(1, p, column, c);
    METTLE_UNROLL
    for (int i = 0; i < Tile::width; ++i) {
      const A xhat = (x[i] - mean) * rstd, g = gain[i] * dy[i], cdy = c[i] * dy[i];
      sums[0] += u[i];
      sums[1] += g;
      sums[2] += u[i] * g;
      sums[3] += u[i] * xhat;
      sums[4] += g * xhat;
      sums[5] += cdy;
      sums[6] += cdy * xhat;
    }
  });
  Tile::row_sums(sums, shared, turn);
  const A s = A{1} / static_cast<A>(a.columns);
  return {sums[0] * s, sums[1] * s, sums[2] * s, sums[3] * s,
          sums[4] * s, sums[5] * s, sums[6] * s};
}

/// The outputs of one row from its means.
template <class Tile, bool fused, class T = typename Tile::T, class A = typename Tile::A>
METTLE_DEVICE void norm_double_outputs(const NormDoubleBackward<T>& a, std::int64_t row, A mean,
                                       A rstd, const NormDoubleMeans<A>& m,
                                       const RowOperands<Tile, 2>& values,
                                       const Cotangent<Tile, fused>& cotangent,
                                       const RowOperands<Tile, 3>& weights,
                                       ColumnSums<Tile, 1>& sums) {
  const A s = m.ug - m.u * m.g - m.p * m.q, rq = rstd * m.q, rp = rstd * m.p;
  const A mean_h = m.cdy - rstd * (m.q * m.u + m.p * m.g);
  const A mean_hx = m.cdyx - 2 * rstd * m.p * m.q + rstd * s;
  T *dx2 = row_at(a.dx2, row, a.columns), *ddy = row_at(a.ddy, row, a.columns);
  T* dresidual2 = fused ? row_at(a.dresidual2, row, a.columns) : nullptr;
  T* dds = fused ? row_at(a.dds, row, a.columns) : nullptr;
  Tile::each_pack(a.columns, [&](int p, std::int64_t column) {
    A x[Tile::width], dy[Tile::width], u[Tile::width], gain[Tile::width], c[Tile::width];
    A e[Tile::width], bend[Tile::width];
    values.get(0, p, column, x);
    values.get(1, p, column, dy);
    const std::uint32_t keeps = cotangent.get(p, column, u);
    weights.get(0, p, column, gain);
    weights.get(1, p, column, c);
    weights.get(2, p, column, e);
    if (dds) store_pack(dds + column, u);
    METTLE_UNROLL
    for (int i = 0; i < Tile::width; ++i) {
      const A xhat = (x[i] - mean) * rstd, w = rstd * (u[i] - m.u - xhat * m.p);
      const A h = c[i] * dy[i] - rq * u[i] - rp * (gain[i] * dy[i]);
      e[i] += gain[i] * w + c[i] * xhat;
      bend[i] = rstd * (h - mean_h - xhat * mean_hx);
      dy[i] *= w;
    }
    if (ddy) store_pack(ddy + column, e);
    if (sums.wanted(0)) sums.add(0, p, column, dy);
    if (dresidual2) store_pack(dresidual2 + column, bend);
    if (dx2) {
      if constexpr (fused) {
        METTLE_UNROLL
        for (int i = 0; i < Tile::width; ++i) bend[i] *= a.dropout.factor(keeps, i);
      }
      store_pack(dx2 + column, bend);
    }
  });
}

template <class Tile, bool fused, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, 1)
void layer_norm_double_backward_rows(const NormDoubleBackward<T> a) {
  using A = typename Tile::A;
  METTLE_SHARED(A, shared, (Tile::template shared_values<7>));
  METTLE_SHARED(A, warps, (ColumnSums<Tile, 1>::shared_values));
  const int group = a.rows.group();
  ColumnSums<Tile, 1> sums(a.weights, a.columns);
  a.rows.template each_row<Tile>([&](std::int64_t row, int turn) {
    RowOperands<Tile, 2> values;
    values.load(a.columns, 0, row_at(a.x, row, a.columns));
    values.load(a.columns, 1, row_at(a.dy, row, a.columns));
    Cotangent<Tile, fused> cotangent(a, row);
    RowOperands<Tile, 3> weights;  // from L1
    weights.load(a.columns, 0, row_at(a.gamma, group, a.columns), A{1});
    weights.load(a.columns, 1, row_at(a.ddgamma, group, a.columns));
    weights.load(a.columns, 2, row_at(a.ddbeta, group, a.columns));
    const A mean = a.mean[row], rstd = a.rstd[row];
    const NormDoubleMeans<A> means =
        norm_double_means<Tile, fused>(a, mean, rstd, turn, values, cotangent, weights, shared);
    norm_double_outputs<Tile, fused>(a, row, mean, rstd, means, values, cotangent, weights, sums);
    sums.next_row();
  });
  sums.finish(warps, group);
}

}  // namespace mettle::kernels::cuda
