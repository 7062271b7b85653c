// What the double backward's kernels make of scores and their tangents, on fragments, and the
// statistics of a query row that they take. Symbols as in attention_simt_double_backward.cuh.
#pragma once

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Of a query row: lse in units of ln 2 (+inf: no valid key), D, u, Dd.
struct alignas(16) MmaTangentStatistics {
  float lse;
  float d;
  float u;
  float dd;
};

// ---- tangent ------------------------------------------------------------------------------------
/// What a lane keeps of its query rows; sums are its part.
template <class Shape> struct MmaTangentRows {
  using PerRow = float[Shape::row_tiles][2];
  typename Shape::Columns ddout = {};  // ddout + (u - c) out
  PerRow lse = {}, centre = {};        // centre: c
  PerRow u = {}, d = {}, dd = {};      // u - c, D, Dd + (u - c) D
};

/// s, u, a, b = masked scores, U / tau, dout v^T, dout w^T -> s = Z o P, u = Z o P o (U - c).
template <class Shape, bool Extras>
METTLE_DEVICE void mma_tangent_weights(typename Shape::Scores& s, typename Shape::Scores& u,
                                       typename Shape::Scores& a, typename Shape::Scores& b,
                                       MmaTangentRows<Shape>& rows, bool first_tile,
                                       const AttentionCall<float>& call, const AttentionHead& head,
                                       int query, int key) {
  const float factor = mma_factor<Extras>(call);
  const bool drops = Extras && call.drops;
  MmaDropout<Shape, false> dropout;
  if (drops) {
    dropout.draw(call, head, query, key);
    dropout.apply(a, call.kept);
    dropout.apply(b, call.kept);
  }
  mma_each_row<Shape>([&](int m, int h) {
    if (first_tile) {
      float sum = 0;
      METTLE_UNROLL
      for (int n = 0; n < Shape::column_tiles; ++n) sum += u[m][n][2 * h] + u[m][n][2 * h + 1];
      rows.centre[m][h] = mma_row_sum(sum) * call.scale / Shape::block;
    }
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
    for (int e = 2 * h; e < 2 * h + 2; ++e) {
      const float p = dev::fast_exp2(s[m][n][e] * factor - rows.lse[m][h]);
      const float centred = u[m][n][e] * call.scale - rows.centre[m][h];
      rows.u[m][h] += p * centred;
      rows.d[m][h] += p * a[m][n][e];
      rows.dd[m][h] += p * (centred * a[m][n][e] + b[m][n][e]);
      s[m][n][e] = p;
      u[m][n][e] = centred;
    }
  });
  if (drops) dropout.apply(s, call.kept);
  mma_each<Shape>([&](int m, int n, int e) { u[m][n][e] *= s[m][n][e]; });
}

/// Takes (u - c) out off ddout, and writes the statistics of the rows before `count` of a head when
/// there is a place for them.
template <class Shape>
METTLE_DEVICE void mma_finish_tangent(MmaTangentRows<Shape>& rows, const AttentionCall<float>& call,
                                      const AttentionHead& head, const AttentionIn& out,
                                      MmaTangentStatistics* statistics, int count, int query) {
  using T = typename Shape::T;
  using Pair = dev::Pack<T, 2>;
  mma_each_row<Shape>([&](int m, int h) {
    const float u = mma_row_sum(rows.u[m][h]), d = mma_row_sum(rows.d[m][h]);
    const float dd = mma_row_sum(rows.dd[m][h]) - u * d;
    const int row = query + mma_row() + 16 * m + 8 * h;
    if (statistics && mma_column() == 0 && row < count)
      statistics[row] = {rows.lse[m][h], d, u + rows.centre[m][h], dd};
    if (row >= call.queries) return;
    const T* values = static_cast<const T*>(out.data) + head.offset(out) + row * out.row;
    METTLE_UNROLL
    for (int n = 0; n < Shape::dims / 8; ++n) {
      const int c = 8 * n + mma_column();
      if (c >= call.value_dim) continue;
      const Pair pair = *reinterpret_cast<const Pair*>(values + c);
      rows.ddout[m][n][2 * h] -= u * dev::to_float(pair.at[0]);
      rows.ddout[m][n][2 * h + 1] -= u * dev::to_float(pair.at[1]);
    }
  });
}

// ---- queries ------------------------------------------------------------------------------------
/// s, u, a, b = masked scores, U / tau, Z o (dout v^T), Z o (dout w^T) -> s = F, a = E.
template <class Shape>
METTLE_DEVICE void mma_differentiate_double_queries(
    typename Shape::Scores& s, const typename Shape::Scores& u, typename Shape::Scores& a,
    const typename Shape::Scores& b, const MmaTangentStatistics (&rows)[Shape::row_tiles][2],
    float factor, float scale) {
  mma_each<Shape>([&](int m, int n, int e) {
    const MmaTangentStatistics& row = rows[m][e / 2];
    const float p = dev::fast_exp2(s[m][n][e] * factor - row.lse);
    const float centred = a[m][n][e] - row.d;
    s[m][n][e] = p * ((u[m][n][e] * scale - row.u) * centred + b[m][n][e] - row.dd);
    a[m][n][e] = p * centred;
  });
}

/// Those of a warp's rows, for it; rows from `count` on are of rows without a key.
template <class Shape>
METTLE_DEVICE void mma_load_tangent_rows(MmaTangentStatistics (&rows)[Shape::row_tiles][2],
                                         const MmaTangentStatistics* statistics, int query,
                                         int count) {
  mma_each_row<Shape>([&](int m, int h) {
    const int row = query + mma_row() + 16 * m + 8 * h;
    rows[m][h] = {dev::infinity(), 0, 0, 0};
    if (row < count) rows[m][h] = statistics[row];
  });
}

// ---- keys ---------------------------------------------------------------------------------------
/// s = masked (q k^T)^T, u = U^T / tau, a, b = Z o (dout v^T)^T, Z o (dout w^T)^T
/// -> F^T, P^T o (U^T - u), E^T.
template <class Shape>
METTLE_DEVICE void mma_differentiate_double_keys(typename Shape::Scores& s,
                                                 typename Shape::Scores& u,
                                                 typename Shape::Scores& a,
                                                 const typename Shape::Scores& b,
                                                 const MmaTangentStatistics* statistics,
                                                 float factor, float scale) {
  METTLE_UNROLL
  for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
  for (int c = 0; c < 2; ++c) {
    const MmaTangentStatistics row = statistics[8 * n + mma_column() + c];
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
    for (int e = c; e < 4; e += 2) {
      const float p = dev::fast_exp2(s[m][n][e] * factor - row.lse);
      const float centred = a[m][n][e] - row.d, centred_u = u[m][n][e] * scale - row.u;
      s[m][n][e] = p * (centred_u * centred + b[m][n][e] - row.dd);
      u[m][n][e] = p * centred_u;
      a[m][n][e] = p * centred;
    }
  }
}

}  // namespace mettle::kernels::cuda
