// The softmax of rows whose scores come tile by tile, on fragments: a lane keeps maximum and sum of
// its rows so far and says by what the output of earlier tiles shrinks. When that output may be
// touched is the kernel's business: it may still be in a product that is under way.
#pragma once

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class Shape> class MmaSoftmax {
 public:
  METTLE_DEVICE MmaSoftmax() {
    mma_each_row<Shape>([&](int m, int h) {
      maximum_[m][h] = -dev::infinity();
      sum_[m][h] = 0;
      shrink_[m][h] = 0;
    });
  }

  /// Scores times `factor` -> exp2(score - maximum), with the maximum over all keys so far.
  METTLE_DEVICE void weigh(typename Shape::Scores& s, float factor) {
    mma_each_row<Shape>([&](int m, int h) {
      float top = s[m][0][2 * h];
      METTLE_UNROLL
      for (int n = 0; n < Shape::column_tiles; ++n)
        top = dev::maximum(top, dev::maximum(s[m][n][2 * h], s[m][n][2 * h + 1]));
      top = dev::maximum(maximum_[m][h], mma_row_max(top) * factor);
      const float shift = top == -dev::infinity() ? 0.0f : top;
      shrink_[m][h] = dev::fast_exp2(maximum_[m][h] - shift);
      maximum_[m][h] = top;
      float sum = 0;
      METTLE_UNROLL
      for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
      for (int e = 2 * h; e < 2 * h + 2; ++e) {
        s[m][n][e] = dev::fast_exp2(s[m][n][e] * factor - shift);
        sum += s[m][n][e];
      }
      sum_[m][h] = sum_[m][h] * shrink_[m][h] + sum;
    });
  }

  /// Output of the tiles before the one that was weighed last.
  METTLE_DEVICE void shrink(typename Shape::Columns& out) const {
    mma_each_row<Shape>([&](int m, int h) { scale(out, m, h, shrink_[m][h]); });
  }

  /// Divides the output by the sums and writes lse, when it is wanted. `query` is the warp's first.
  METTLE_DEVICE void finish(typename Shape::Columns& out, const AttentionCall<float>& call,
                            const AttentionHead& head, float* lse, int query) const {
    mma_each_row<Shape>([&](int m, int h) {
      const float sum = mma_row_sum(sum_[m][h]);
      scale(out, m, h, sum == 0 ? 0.0f : 1.0f / sum);
      const int row = query + mma_row() + 16 * m + 8 * h;
      if (lse && mma_column() == 0 && row < call.queries)
        lse[head.index * call.queries + row] =
            sum == 0 ? -dev::infinity()
                     : maximum_[m][h] * attention_ln2<float> + attention_log(sum);
    });
  }

 private:
  METTLE_DEVICE static void scale(typename Shape::Columns& out, int m, int h, float factor) {
    METTLE_UNROLL
    for (int n = 0; n < Shape::dims / 8; ++n) {
      out[m][n][2 * h] *= factor;
      out[m][n][2 * h + 1] *= factor;
    }
  }

  float maximum_[Shape::row_tiles][2];
  float sum_[Shape::row_tiles][2];  // this lane's part
  float shrink_[Shape::row_tiles][2];
};

}  // namespace mettle::kernels::cuda
