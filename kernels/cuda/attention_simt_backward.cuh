// Attention backward by plain FMA, for every dtype and any head dims up to 256, in two kernels
// without atomics, so that the bits are the same in every run:
//   rows: a block owns query rows and walks over the keys     D = rowsum(P o A), dq = tau E k
//   keys: a block owns keys and walks over the query rows     dk = tau E^T q, dv = (Z o P)^T dout
// with P = exp(S - lse), A = Z o (dout v^T), E = P o (A - D). D is rowsum(dout o out) where `out`
// has the precision of the sums, so that no sweep is needed for it; else, and without `out`, a
// sweep sums P o A.
//
// Per head, in products of 2 Nq Nk D FLOP: rows 3 (5 with the sweep), keys 4: S and A are made
// twice instead of adding dq up with atomics. Scratch: one number per query row. Prediction for f32
// on an H100 or H200: bound by FMA and shared memory, 25 to 45 % of 67 TF/s at D = 64.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_simt_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class A> struct AttentionBackwardOperands {
  AttentionIn q, k, v, out, dout;
  const A* lse;
  AttentionOut dq, dk, dv;
  A* d;             // (B, H, Nq): rows write it, keys read it
  bool d_from_out;  // `out` is given and as precise as the sums
};

// ---- rows ---------------------------------------------------------------------------------------
/// A block's query rows, and the tile of keys that it looks at.
template <class Shape> struct SimtBackwardRows {
  using A = typename Shape::Sum;
  const AttentionCall<A>& call;
  const AttentionBackwardOperands<A>& x;
  const AttentionHead head;
  const int query, pitch;
  A *q, *g, *stream;
  A lse[Shape::micro] = {};
  A d[Shape::micro] = {};

  METTLE_DEVICE void load() {
    simt_load<Shape>(q, pitch, call.dtype, x.q, head, query, call.queries, call.head_dim);
    simt_load<Shape>(g, pitch, call.dtype, x.dout, head, query, call.queries, call.value_dim);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i)
      lse[i] = attention_row_lse(call, head, x.lse, query + simt_y() + 16 * i);
  }

  // s = P, a = Z o (dout v^T) of the tile of keys, which stays in `stream`.
  METTLE_DEVICE void make(int key, typename Shape::Scores& s, typename Shape::Scores& a) {
    dev::sync_block();  // `stream` is used up
    simt_load<Shape>(stream, pitch, call.dtype, x.v, head, key, call.keys, call.value_dim);
    dev::sync_block();  // values and, at first, the rows are in
    simt_add_scores<Shape>(a, g, stream, pitch, call.value_dim);
    dev::sync_block();  // values are used up
    simt_load<Shape>(stream, pitch, call.dtype, x.k, head, key, call.keys, call.head_dim);
    dev::sync_block();  // keys are in
    simt_add_scores<Shape>(s, q, stream, pitch, call.head_dim);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j) {
      const int row = query + simt_y() + 16 * i, column = key + simt_x() + 16 * j;
      s[i][j] = attention_exp2(attention_score(call, head, row, column, s[i][j]) - lse[i]);
      if (call.drops) a[i][j] *= attention_keep(call, head, row, column);
    }
  }

  // D from the keys.
  METTLE_DEVICE void sum_d(int seen) {
    for (int key = 0; key < seen; key += Shape::rows) {
      typename Shape::Scores s = {}, a = {};
      make(key, s, a);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) d[i] += s[i][j] * a[i][j];
    }
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) d[i] = simt_row_sum(d[i]);
  }

  // D from the output.
  METTLE_DEVICE void read_d() {
    const std::int64_t out = head.offset(x.out), dout = head.offset(x.dout);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) {
      const std::int64_t row = query + simt_y() + 16 * i;
      if (row < call.queries)
        for (int c = simt_x(); c < call.value_dim; c += 16)
          d[i] += attention_load<A>(call.dtype, x.out.data, out + row * x.out.row + c) *
                  attention_load<A>(call.dtype, x.dout.data, dout + row * x.dout.row + c);
      d[i] = simt_row_sum(d[i]);
    }
  }

  // dq without tau.
  METTLE_DEVICE void sum_dq(int seen, A* e, typename Shape::Columns& dq) {
    for (int key = 0; key < seen; key += Shape::rows) {
      typename Shape::Scores s = {}, a = {};
      make(key, s, a);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) s[i][j] *= a[i][j] - d[i];
      simt_put_scores<Shape>(e, s);
      dev::sync_block();  // E is in
      simt_add_columns<Shape>(dq, e, stream, pitch, simt_rows<Shape>(key, call.keys),
                              call.head_dim);
    }
  }
};

/// Grid: query tiles x heads, tiles fastest.
template <class Shape>
METTLE_GLOBAL(256, 1)
void attention_simt_backward_rows(const AttentionCall<typename Shape::Sum> call,
                                  const AttentionBackwardOperands<typename Shape::Sum> x,
                                  const int pitch, const int tiles) {
  using A = typename Shape::Sum;
  dev::SharedCarver carver;
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int query = dev::block_index().x % tiles * Shape::rows;
  const int size = Shape::rows * pitch;
  A* const q = carver.take<A>(size);
  A* const g = carver.take<A>(size);
  A* const stream = carver.take<A>(size);
  A* const e = carver.take<A>(Shape::score_size);
  SimtBackwardRows<Shape> rows{call, x, head, query, pitch, q, g, stream};
  rows.load();
  const int seen = call.visible(dev::minimum(query + Shape::rows, call.queries) - 1);
  if (x.d_from_out)
    rows.read_d();
  else
    rows.sum_d(seen);
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) {
    const int row = query + simt_y() + 16 * i;
    if (simt_x() == 0 && row < call.queries) x.d[head.index * call.queries + row] = rows.d[i];
  }
  typename Shape::Columns dq = {};
  if (x.dq.data) {
    rows.sum_dq(seen, e, dq);
    simt_store<Shape>(dq, call.scale, call.dtype, x.dq, head, query, call.queries, call.head_dim);
  }
}

// ---- keys ---------------------------------------------------------------------------------------
// s, a = (q k^T)^T, (dout v^T)^T -> (Z o P)^T, E^T: rows are keys, columns query rows.
template <class Shape>
METTLE_DEVICE void simt_differentiate_keys(typename Shape::Scores& s, typename Shape::Scores& a,
                                           const AttentionCall<typename Shape::Sum>& call,
                                           const AttentionHead& head,
                                           const AttentionBackwardOperands<typename Shape::Sum>& x,
                                           int query, int key) {
  using A = typename Shape::Sum;
  METTLE_UNROLL
  for (int j = 0; j < Shape::micro; ++j) {
    const int row = query + simt_x() + 16 * j;
    const A lse = attention_row_lse(call, head, x.lse, row);
    const A d = row < call.queries ? x.d[head.index * call.queries + row] : A(0);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) {
      const int column = key + simt_y() + 16 * i;
      const A p = attention_exp2(attention_score(call, head, row, column, s[i][j]) - lse);
      const A z = call.drops ? attention_keep(call, head, row, column) : A(1);
      s[i][j] = z * p;
      a[i][j] = p * (z * a[i][j] - d);
    }
  }
}

/// Grid: key tiles x heads, tiles fastest.
template <class Shape>
METTLE_GLOBAL(256, 1)
void attention_simt_backward_keys(const AttentionCall<typename Shape::Sum> call,
                                  const AttentionBackwardOperands<typename Shape::Sum> x,
                                  const int pitch, const int tiles) {
  using A = typename Shape::Sum;
  dev::SharedCarver carver;
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int key = dev::block_index().x % tiles * Shape::rows;
  const int size = Shape::rows * pitch;
  A* const k = carver.take<A>(size);
  A* const v = carver.take<A>(size);
  A* const stream = carver.take<A>(size);
  A* const weights = carver.take<A>(Shape::score_size);
  simt_load<Shape>(k, pitch, call.dtype, x.k, head, key, call.keys, call.head_dim);
  simt_load<Shape>(v, pitch, call.dtype, x.v, head, key, call.keys, call.value_dim);
  typename Shape::Columns dk = {}, dv = {};
  const int first = dev::maximum(call.first_viewer(key), 0) / Shape::rows * Shape::rows;
  for (int query = first; query < call.queries; query += Shape::rows) {
    typename Shape::Scores s = {}, a = {};
    dev::sync_block();  // `stream` and `weights` are used up
    simt_load<Shape>(stream, pitch, call.dtype, x.q, head, query, call.queries, call.head_dim);
    dev::sync_block();  // queries and, at first, the keys are in
    simt_add_scores<Shape>(s, k, stream, pitch, call.head_dim);
    dev::sync_block();  // queries are used up
    simt_load<Shape>(stream, pitch, call.dtype, x.dout, head, query, call.queries, call.value_dim);
    dev::sync_block();  // dout is in
    simt_add_scores<Shape>(a, v, stream, pitch, call.value_dim);
    simt_differentiate_keys<Shape>(s, a, call, head, x, query, key);
    simt_put_scores<Shape>(weights, s);
    dev::sync_block();  // Z o P is in
    if (x.dv.data)
      simt_add_columns<Shape>(dv, weights, stream, pitch, simt_rows<Shape>(query, call.queries),
                              call.value_dim);
    dev::sync_block();  // dout and Z o P are used up
    simt_load<Shape>(stream, pitch, call.dtype, x.q, head, query, call.queries, call.head_dim);
    simt_put_scores<Shape>(weights, a);
    dev::sync_block();  // queries and E are in
    if (x.dk.data)
      simt_add_columns<Shape>(dk, weights, stream, pitch, simt_rows<Shape>(query, call.queries),
                              call.head_dim);
  }
  if (x.dk.data)
    simt_store<Shape>(dk, call.scale, call.dtype, x.dk, head, key, call.keys, call.head_dim);
  if (x.dv.data)
    simt_store<Shape>(dv, A(1), call.dtype, x.dv, head, key, call.keys, call.value_dim);
}

}  // namespace mettle::kernels::cuda
