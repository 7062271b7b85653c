// Attention forward by mma.sync, in the manner of FlashAttention-2: a block owns query rows and
// walks over tiles of keys, whose copies run one tile ahead (two stages of cp.async, one barrier
// per tile). Scores stay in registers; scale and log2(e) are folded into one FMA in front of exp2.
//
// Per head: 4 Nq Nk D FLOP, Nq Nk exponentials, (2 Nq + 2 Nk) D * 2 bytes of device memory plus 4
// Nq for lse; K and V are read once per query tile from L2. Limits on an H100 (D = 64): mma.sync
// about 620 TF/s, exponentials 3.9e12 / s = 1000 TF/s worth; without overlap of the two 380 TF/s.
// Prediction, not measured: 300 to 330 TF/s at D = 64 and 340 to 370 at D = 128 for N >= 2048 (what
// FlashAttention-2 reaches with these tiles); N = 128, D = 64: bound by memory, 65 to 75 % of it.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/attention_simt_forward.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

// What a lane keeps of its query rows.
template <class Shape> struct MmaSoftmaxRows {
  typename Shape::Columns out;
  float maximum[Shape::row_tiles][2];
  float sum[Shape::row_tiles][2];  // this lane's part
};

// Scores times `factor` -> exp2(score - maximum), with the maximum over all keys so far.
template <class Shape>
METTLE_DEVICE void mma_weights(typename Shape::Scores& s, MmaSoftmaxRows<Shape>& rows,
                               float factor) {
  mma_each_row<Shape>([&](int m, int h) {
    float top = s[m][0][2 * h];
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n)
      top = dev::maximum(top, dev::maximum(s[m][n][2 * h], s[m][n][2 * h + 1]));
    top = dev::maximum(rows.maximum[m][h], mma_row_max(top) * factor);
    const float shift = top == -dev::infinity() ? 0.0f : top;
    const float shrink = dev::fast_exp2(rows.maximum[m][h] - shift);
    rows.maximum[m][h] = top;
    float sum = 0;
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
    for (int e = 2 * h; e < 2 * h + 2; ++e) {
      s[m][n][e] = dev::fast_exp2(s[m][n][e] * factor - shift);
      sum += s[m][n][e];
    }
    rows.sum[m][h] = rows.sum[m][h] * shrink + sum;
    METTLE_UNROLL
    for (int n = 0; n < Shape::dims / 8; ++n) {
      rows.out[m][n][2 * h] *= shrink;
      rows.out[m][n][2 * h + 1] *= shrink;
    }
  });
}

// Divides by the sums, writes lse and the output rows.
template <class Shape>
METTLE_DEVICE void mma_finish_forward(MmaSoftmaxRows<Shape>& rows, const AttentionCall<float>& call,
                                      const AttentionHead& head,
                                      const AttentionForwardOperands<float>& x, int query,
                                      typename Shape::T* stage) {
  mma_each_row<Shape>([&](int m, int h) {
    const float sum = mma_row_sum(rows.sum[m][h]);
    const float inverse = sum == 0 ? 0.0f : 1.0f / sum;
    METTLE_UNROLL
    for (int n = 0; n < Shape::dims / 8; ++n) {
      rows.out[m][n][2 * h] *= inverse;
      rows.out[m][n][2 * h + 1] *= inverse;
    }
    const int row = query + mma_row() + 16 * m + 8 * h;
    if (x.lse && mma_column() == 0 && row < call.queries)
      x.lse[head.index * call.queries + row] =
          sum == 0 ? -dev::infinity()
                   : rows.maximum[m][h] * attention_ln2<float> + attention_log(sum);
  });
  if (x.out.data)
    mma_store<Shape>(rows.out, 1.0f, stage, x.out, head, query, call.queries, call.value_dim);
}

/// Grid: query tiles x heads, tiles fastest and, with a causal mask, the longest first.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_forward(const AttentionCall<float> call, const AttentionForwardOperands<float> x,
                           const int tiles) {
  using T = typename Shape::T;
  dev::SharedCarver carver;
  T* const q = carver.take<T>(Shape::own_size);
  T* const k = carver.take<T>(2 * Shape::block_size);
  T* const v = carver.take<T>(2 * Shape::block_size);
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int tile = dev::block_index().x % tiles;
  const int first = (call.causal ? tiles - 1 - tile : tile) * Shape::rows;
  const int seen = call.visible(dev::minimum(first + Shape::rows, call.queries) - 1);
  T* const own = q + dev::warp_index() * Shape::warp_rows * Shape::pitch;
  const int query = first + dev::warp_index() * Shape::warp_rows;

  mma_load<Shape, Shape::rows>(q, x.q, head, first, call.queries, call.head_dim);
  const auto load_keys = [&](int key, int stage) {
    mma_load<Shape, Shape::block>(k + stage * Shape::block_size, x.k, head, key, call.keys,
                                  call.head_dim);
    mma_load<Shape, Shape::block>(v + stage * Shape::block_size, x.v, head, key, call.keys,
                                  call.value_dim);
  };
  if (seen > 0) load_keys(0, 0);
  dev::commit_copies();

  MmaSoftmaxRows<Shape> rows = {};
  mma_each_row<Shape>([&](int m, int h) { rows.maximum[m][h] = -dev::infinity(); });
  MmaLeft<Shape, Shape::dims <= 64> left;
  const int whole = dev::minimum(call.visible(first), call.keys);  // keys that every row sees
  for (int key = 0, stage = 0; key < seen; key += Shape::block, stage ^= 1) {
    dev::wait_copies<0>();
    dev::sync_block();  // the tile is in, and nobody reads the one before
    if (key + Shape::block < seen) load_keys(key + Shape::block, stage ^ 1);
    dev::commit_copies();
    if (key == 0) left.load(own);
    typename Shape::Scores s = {};
    mma_add_scores<Shape>(s, left, k + stage * Shape::block_size);
    mma_mask_queries<Shape, Extras>(s, call, head, query, key, key + Shape::block <= whole);
    mma_weights<Shape>(s, rows, mma_factor<Extras>(call));
    if (Extras && call.drops) {
      MmaDropout<Shape, false> dropout;
      dropout.draw(call, head, query, key);
      dropout.apply(s, call.kept);
    }
    mma_add_columns<Shape>(rows.out, s, v + stage * Shape::block_size);
  }
  dev::wait_copies<0>();
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  mma_finish_forward<Shape>(rows, call, head, x, query, own);
}

}  // namespace mettle::kernels::cuda
