// Attention forward by plain FMA, for every dtype and any head dims up to 256: a block owns a tile
// of query rows and walks over tiles of keys with a running maximum and sum, so memory is linear.
//
// Per head: 4 Nq Nk D FLOP (D = Dv) and Nq Nk exponentials; bytes (2 Nq D + 2 Nk D) * size, each
// key tile read once per query tile from L2. Prediction for f32 on an H100 or H200 (67 TF/s of
// FMA): bound by FMA and shared memory, 30 to 50 % of peak at D = 64.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_simt_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class A> struct AttentionForwardOperands {
  AttentionIn q, k, v;
  AttentionOut out;
  A* lse;
};

// What a thread keeps of its query rows.
template <class Shape> struct SimtSoftmaxRows {
  using A = typename Shape::Sum;
  A maximum[Shape::micro];
  A sum[Shape::micro];  // this thread's part
  typename Shape::Columns out;
};

// Scores of one key tile -> Z o exp(S - maximum), with the maximum over all keys so far.
template <class Shape>
METTLE_DEVICE void simt_weights(typename Shape::Scores& s, SimtSoftmaxRows<Shape>& rows,
                                const AttentionCall<typename Shape::Sum>& call,
                                const AttentionHead& head, int query, int key) {
  using A = typename Shape::Sum;
  const A nothing = -static_cast<A>(dev::infinity());
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) {
    const int row = query + simt_y() + 16 * i;
    A top = rows.maximum[i];
    METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j) {
      s[i][j] = attention_score(call, head, row, key + simt_x() + 16 * j, s[i][j]);
      top = dev::maximum(top, s[i][j]);
    }
    top = simt_row_max(top);
    const A shift = top == nothing ? A(0) : top;
    const A shrink = attention_exp2(rows.maximum[i] - shift);
    rows.maximum[i] = top;
    rows.sum[i] *= shrink;
    METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j) {
      const A weight = attention_exp2(s[i][j] - shift);
      rows.sum[i] += weight;
      s[i][j] =
          call.drops ? weight * attention_keep(call, head, row, key + simt_x() + 16 * j) : weight;
    }
    METTLE_UNROLL
    for (int m = 0; m < Shape::groups; ++m) METTLE_UNROLL
    for (int e = 0; e < Shape::width; ++e) rows.out[i][m][e] *= shrink;
  }
}

// Divides by the sums, writes lse and the output rows.
template <class Shape>
METTLE_DEVICE void simt_finish_forward(SimtSoftmaxRows<Shape>& rows,
                                       const AttentionCall<typename Shape::Sum>& call,
                                       const AttentionHead& head,
                                       const AttentionForwardOperands<typename Shape::Sum>& x,
                                       int query) {
  using A = typename Shape::Sum;
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) {
    const A sum = simt_row_sum(rows.sum[i]);
    const A inverse = sum == A(0) ? A(0) : A(1) / sum;
    METTLE_UNROLL
    for (int m = 0; m < Shape::groups; ++m) METTLE_UNROLL
    for (int e = 0; e < Shape::width; ++e) rows.out[i][m][e] *= inverse;
    const int row = query + simt_y() + 16 * i;
    if (x.lse && simt_x() == 0 && row < call.queries)
      x.lse[head.index * call.queries + row] =
          sum == A(0) ? -static_cast<A>(dev::infinity())
                      : rows.maximum[i] * attention_ln2<A> + attention_log(sum);
  }
  if (x.out.data)
    simt_store<Shape>(rows.out, A(1), call.dtype, x.out, head, query, call.queries, call.value_dim);
}

/// Grid: query tiles x heads, tiles fastest.
template <class Shape>
METTLE_GLOBAL(256, 1)
void attention_simt_forward(const AttentionCall<typename Shape::Sum> call,
                            const AttentionForwardOperands<typename Shape::Sum> x, const int pitch,
                            const int tiles) {
  using A = typename Shape::Sum;
  dev::SharedCarver carver;
  A* const q = carver.take<A>(Shape::rows * pitch);
  A* const kv = carver.take<A>(Shape::rows * pitch);
  A* const weights = carver.take<A>(Shape::score_size);
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int query = dev::block_index().x % tiles * Shape::rows;
  simt_load<Shape>(q, pitch, call.dtype, x.q, head, query, call.queries, call.head_dim);

  SimtSoftmaxRows<Shape> rows = {};
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) rows.maximum[i] = -static_cast<A>(dev::infinity());
  const int seen = call.visible(dev::minimum(query + Shape::rows, call.queries) - 1);
  for (int key = 0; key < seen; key += Shape::rows) {
    dev::sync_block();  // the values of the tile before are used up
    simt_load<Shape>(kv, pitch, call.dtype, x.k, head, key, call.keys, call.head_dim);
    dev::sync_block();  // the keys are in
    typename Shape::Scores s = {};
    simt_add_scores<Shape>(s, q, kv, pitch, call.head_dim);
    simt_weights<Shape>(s, rows, call, head, query, key);
    simt_put_scores<Shape>(weights, s);
    dev::sync_block();  // the keys are used up
    simt_load<Shape>(kv, pitch, call.dtype, x.v, head, key, call.keys, call.value_dim);
    dev::sync_block();  // values and weights are in
    simt_add_columns<Shape>(rows.out, weights, kv, pitch, simt_rows<Shape>(key, call.keys),
                            call.value_dim);
  }
  simt_finish_forward<Shape>(rows, call, head, x, query);
}

}  // namespace mettle::kernels::cuda
