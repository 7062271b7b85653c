// What the backward kernels make of scores, on fragments: weights P = exp2(S - lse) and their
// gradients E = P o (A - D), with queries or with keys as rows, and the statistics of a query row
// that they take.
#pragma once

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Of a query row, for the kernel that owns keys: lse in units of ln 2 (+inf: no valid key), and D.
struct alignas(8) MmaRowStatistics {
  float lse;
  float d;
};

// ---- queries ------------------------------------------------------------------------------------
/// The part of rowsum(x o y) of a row that this lane adds; mma_row_sum() makes it whole.
template <class T>
METTLE_DEVICE float mma_row_product(const AttentionIn& x, const AttentionIn& y,
                                    const AttentionHead& head, int row, int cols) {
  using Pack = dev::Pack<T, 8>;
  const T* a = static_cast<const T*>(x.data) + head.offset(x) + row * x.row;
  const T* b = static_cast<const T*>(y.data) + head.offset(y) + row * y.row;
  float sum = 0;
  for (int c = mma_column() * 4; c < cols; c += 32) {
    const Pack p = *reinterpret_cast<const Pack*>(a + c), q = *reinterpret_cast<const Pack*>(b + c);
    METTLE_UNROLL
    for (int i = 0; i < 8; ++i) sum += dev::to_float(p.at[i]) * dev::to_float(q.at[i]);
  }
  return sum;
}

/// A warp's query rows in the kernel that owns queries: it takes D from the rounded output, and
/// sums the exact one, rowsum(P o A), on the way.
template <class Shape> class MmaQueryRows {
 public:
  /// `query` is the warp's first.
  METTLE_DEVICE void load(const AttentionCall<float>& call, const AttentionHead& head,
                          const AttentionIn& out, const AttentionIn& dout, const float* lse,
                          int query) {
    mma_each_row<Shape>([&](int m, int h) {
      const int row = query + mma_row() + 16 * m + 8 * h;
      lse_[m][h] = attention_row_lse(call, head, lse, row);
      const float part = row < call.queries ? mma_row_product<typename Shape::T>(
                                                  out, dout, head, row, call.value_dim)
                                            : 0.0f;
      d_[m][h] = mma_row_sum(part);
    });
  }
  /// Scores times `factor` -> P.
  METTLE_DEVICE void weigh(typename Shape::Scores& s, float factor) const {
    mma_each<Shape>([&](int m, int n, int e) {
      s[m][n][e] = dev::fast_exp2(s[m][n][e] * factor - lse_[m][e / 2]);
    });
  }
  /// P -> E.
  METTLE_DEVICE void differentiate(typename Shape::Scores& p, const typename Shape::Scores& a) {
    mma_each<Shape>([&](int m, int n, int e) {
      exact_[m][e / 2] += p[m][n][e] * a[m][n][e];
      p[m][n][e] *= a[m][n][e] - d_[m][e / 2];
    });
  }
  /// Writes the statistics of the rows before `count` of a head, for the keys. `swept`: the exact
  /// D has been summed over all of them.
  METTLE_DEVICE void store(MmaRowStatistics* statistics, int query, int count, bool swept) const {
    mma_each_row<Shape>([&](int m, int h) {
      const float sum = mma_row_sum(exact_[m][h]);
      const int row = query + mma_row() + 16 * m + 8 * h;
      if (mma_column() == 0 && row < count) statistics[row] = {lse_[m][h], swept ? sum : d_[m][h]};
    });
  }

 private:
  float lse_[Shape::row_tiles][2], d_[Shape::row_tiles][2], exact_[Shape::row_tiles][2] = {};
};

// ---- keys ---------------------------------------------------------------------------------------
/// Calls f(score, statistics of its query) for every element of a lane, with keys as rows, as f(m,
/// n, e, lse, d).
template <class Shape, class F>
METTLE_DEVICE void mma_each_key(const MmaRowStatistics* statistics, F&& f) {
  METTLE_UNROLL
  for (int n = 0; n < Shape::column_tiles; ++n) {
    // Two neighbouring rows: lse, D, lse, D.
    const auto rows = *reinterpret_cast<const dev::Float4*>(statistics + 8 * n + mma_column());
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
    for (int e = 0; e < 4; ++e) f(m, n, e, rows.at[2 * (e % 2)], rows.at[2 * (e % 2) + 1]);
  }
}

/// Scores times `factor` -> P^T.
template <class Shape>
METTLE_DEVICE void mma_weigh_keys(typename Shape::Scores& s, const MmaRowStatistics* statistics,
                                  float factor) {
  mma_each_key<Shape>(statistics, [&](int m, int n, int e, float lse, float) {
    s[m][n][e] = dev::fast_exp2(s[m][n][e] * factor - lse);
  });
}

/// A^T -> E^T.
template <class Shape>
METTLE_DEVICE void mma_differentiate_keys(typename Shape::Scores& a,
                                          const typename Shape::Scores& p,
                                          const MmaRowStatistics* statistics) {
  mma_each_key<Shape>(statistics, [&](int m, int n, int e, float, float d) {
    a[m][n][e] = p[m][n][e] * (a[m][n][e] - d);
  });
}

}  // namespace mettle::kernels::cuda
