// Attention double backward by plain FMA, for every dtype and any head dims up to 256, in two
// kernels without atomics. With x, y, w = ddq, ddk, ddv (absent ones are zeros and cost nothing):
//   U = tau (x k^T + q y^T)   u = rowsum(P o U)   A = Z o (dout v^T)   B = Z o (dout w^T)
//   ddout = (Z o P o (U - u)) v + (Z o P) w       D = rowsum(dout o out)   Dd = rowsum(dout o
//   ddout) E = P o (A - D)    F = P o [(U - u) o (A - D) + B - Dd] dq2 = tau (F k + E y)    dk2 =
//   tau (F^T q + E^T x)    dv2 = (Z o P o (U - u))^T dout
// rows: a block owns query rows and sweeps the keys twice. The first sweep makes ddout, which is
// the
//   tangent of the forward along (x, y, w), and the statistics u, D, Dd; alone (no dout, no
//   statistics) it is the JVP. It sums Z o P o (U - c) with c a row's mean of U over the first
//   tile, so that a common offset of U does not cost digits, and its own `out` in full precision.
//   The second makes dq2.
// keys: a block owns keys and sweeps the query rows for dk2 and dv2.
//
// One product is 2 Nq Nk D FLOP. Sweeps: 6 + 7 + 8 = 21 products. Late centring would make dq2 in
// the first sweep (18 products) at the price of three accumulators and of digits; this form centres
// U before any product with it is rounded. Scratch: three numbers per query row.
// Prediction for f32 on an H100 or H200: bound by FMA and shared memory, 25 to 45 % of 67 TF/s.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_simt_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class A> struct AttentionDoubleOperands {
  AttentionIn q, k, v, dout, ddq, ddk, ddv;
  const A* lse;
  AttentionOut dq2, dk2, dv2, ddout;
  A *d, *u, *dd;  // (B, H, Nq) each, or null: rows write them, keys read them
};

// ---- rows ---------------------------------------------------------------------------------------
template <class Shape> struct SimtDoubleRows {
  using A = typename Shape::Sum;
  using Scores = typename Shape::Scores;
  using Columns = typename Shape::Columns;
  const AttentionCall<A>& call;
  const AttentionDoubleOperands<A>& x;
  const AttentionHead head;
  const int query, pitch;
  A *q, *ddq, *g, *stream, *weights, *tangents;
  A lse[Shape::micro] = {};
  A d[Shape::micro] = {}, u[Shape::micro] = {}, dd[Shape::micro] = {};

  METTLE_DEVICE int row(int i) const { return query + simt_y() + 16 * i; }
  METTLE_DEVICE bool has_u() const { return x.ddq.data || x.ddk.data; }

  METTLE_DEVICE void load_rows(A* tile, const AttentionIn& from, int cols) {
    if (from.data) simt_load<Shape>(tile, pitch, call.dtype, from, head, query, call.queries, cols);
  }
  METTLE_DEVICE void load() {
    load_rows(q, x.q, call.head_dim);
    load_rows(ddq, x.ddq, call.head_dim);
    load_rows(g, x.dout, call.value_dim);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) lse[i] = attention_row_lse(call, head, x.lse, row(i));
  }
  // Keys' rows of an operand into `stream`.
  METTLE_DEVICE void next(const AttentionIn& from, int key, int cols) {
    dev::sync_block();  // `stream` is used up
    simt_load<Shape>(stream, pitch, call.dtype, from, head, key, call.keys, cols);
    dev::sync_block();  // it is in; so are weights and, at first, the rows
  }

  // s = P and u = U of a tile of keys; k stays in `stream`.
  METTLE_DEVICE void make_p_u(int key, Scores& s, Scores& tangent) {
    if (x.ddk.data) {
      next(x.ddk, key, call.head_dim);
      simt_add_scores<Shape>(tangent, q, stream, pitch, call.head_dim);
    }
    next(x.k, key, call.head_dim);
    simt_add_scores<Shape>(s, q, stream, pitch, call.head_dim);
    if (x.ddq.data) simt_add_scores<Shape>(tangent, ddq, stream, pitch, call.head_dim);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j) {
      const int column = key + simt_x() + 16 * j;
      s[i][j] = attention_exp2(attention_score(call, head, row(i), column, s[i][j]) - lse[i]);
      tangent[i][j] *= call.scale;
    }
  }

  METTLE_DEVICE void drop(int key, Scores& s) {
    if (!call.drops) return;
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j)
      s[i][j] *= attention_keep(call, head, row(i), key + simt_x() + 16 * j);
  }

  // A row's mean of U over the first tile: near u, so that U minus it is small.
  METTLE_DEVICE void choose_centre(const Scores& tangent, A (&centre)[Shape::micro]) {
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) {
      A sum = 0;
      METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) sum += tangent[i][j];
      centre[i] = simt_row_sum(sum) / Shape::rows;
    }
  }

  // First sweep: out and ddout + (u - c) out; u holds u - c, this thread's part, at its end.
  METTLE_DEVICE void sum_outputs(int seen, Columns& out, Columns& ddout,
                                 A (&centre)[Shape::micro]) {
    for (int key = 0; key < seen; key += Shape::rows) {
      Scores s = {}, tangent = {};
      make_p_u(key, s, tangent);
      if (key == 0) choose_centre(tangent, centre);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) {
        tangent[i][j] -= centre[i];
        u[i] += s[i][j] * tangent[i][j];
      }
      drop(key, s);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) tangent[i][j] *= s[i][j];
      simt_put_scores<Shape>(weights, s);
      simt_put_scores<Shape>(tangents, tangent);
      next(x.v, key, call.value_dim);
      simt_add_columns<Shape>(out, weights, stream, pitch, simt_rows<Shape>(key, call.keys),
                              call.value_dim);
      if (has_u())
        simt_add_columns<Shape>(ddout, tangents, stream, pitch, simt_rows<Shape>(key, call.keys),
                                call.value_dim);
      if (!x.ddv.data) continue;
      next(x.ddv, key, call.value_dim);
      simt_add_columns<Shape>(ddout, weights, stream, pitch, simt_rows<Shape>(key, call.keys),
                              call.value_dim);
    }
  }

  // ddout, u, D, Dd. Returns with ddout finished.
  METTLE_DEVICE void first_sweep(int seen, Columns& ddout) {
    Columns out = {};
    A centre[Shape::micro] = {};
    sum_outputs(seen, out, ddout, centre);
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) {
      u[i] = simt_row_sum(u[i]);
      METTLE_UNROLL
      for (int m = 0; m < Shape::groups; ++m) METTLE_UNROLL
      for (int e = 0; e < Shape::width; ++e) {
        const int c = (simt_x() + 16 * m) * Shape::width + e;
        ddout[i][m][e] -= u[i] * out[i][m][e];
        const bool given = x.dout.data && c < call.value_dim;
        const A cotangent = given ? g[(simt_y() + 16 * i) * pitch + c] : A(0);
        d[i] += cotangent * out[i][m][e];
        dd[i] += cotangent * ddout[i][m][e];
      }
      d[i] = simt_row_sum(d[i]);
      dd[i] = simt_row_sum(dd[i]);
      u[i] += centre[i];
    }
  }

  METTLE_DEVICE void store_statistics() {
    if (!x.d) return;
    METTLE_UNROLL
    for (int i = 0; i < Shape::micro; ++i) {
      if (simt_x() != 0 || row(i) >= call.queries) continue;
      const std::int64_t at = head.index * call.queries + row(i);
      x.d[at] = d[i];
      x.u[at] = u[i];
      x.dd[at] = dd[i];
    }
  }

  // Second sweep: dq2 without tau.
  METTLE_DEVICE void second_sweep(int seen, Columns& dq2) {
    for (int key = 0; key < seen; key += Shape::rows) {
      Scores s = {}, tangent = {}, a = {}, b = {};
      next(x.v, key, call.value_dim);
      simt_add_scores<Shape>(a, g, stream, pitch, call.value_dim);
      if (x.ddv.data) {
        next(x.ddv, key, call.value_dim);
        simt_add_scores<Shape>(b, g, stream, pitch, call.value_dim);
      }
      drop(key, a);
      drop(key, b);
      make_p_u(key, s, tangent);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
      for (int j = 0; j < Shape::micro; ++j) {
        const A centred = a[i][j] - d[i], p = s[i][j];
        s[i][j] = p * ((tangent[i][j] - u[i]) * centred + b[i][j] - dd[i]);
        a[i][j] = p * centred;
      }
      simt_put_scores<Shape>(weights, s);
      simt_put_scores<Shape>(tangents, a);
      dev::sync_block();  // F and E are in
      simt_add_columns<Shape>(dq2, weights, stream, pitch, simt_rows<Shape>(key, call.keys),
                              call.head_dim);
      if (!x.ddk.data) continue;
      next(x.ddk, key, call.head_dim);
      simt_add_columns<Shape>(dq2, tangents, stream, pitch, simt_rows<Shape>(key, call.keys),
                              call.head_dim);
    }
  }
};

/// Grid: query tiles x heads, tiles fastest.
template <class Shape>
METTLE_GLOBAL(256, 1)
void attention_simt_double_rows(const AttentionCall<typename Shape::Sum> call,
                                const AttentionDoubleOperands<typename Shape::Sum> x,
                                const int pitch, const int tiles) {
  using A = typename Shape::Sum;
  dev::SharedCarver carver;
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int query = dev::block_index().x % tiles * Shape::rows;
  const int size = Shape::rows * pitch;
  A* const q = carver.take<A>(size);
  A* const ddq = carver.take<A>(size);
  A* const g = carver.take<A>(size);
  A* const stream = carver.take<A>(size);
  A* const weights = carver.take<A>(Shape::score_size);
  A* const tangents = carver.take<A>(Shape::score_size);
  SimtDoubleRows<Shape> rows{call, x, head, query, pitch, q, ddq, g, stream, weights, tangents};
  rows.load();
  dev::sync_block();  // the rows are in, should there be no key
  const int seen = call.visible(dev::minimum(query + Shape::rows, call.queries) - 1);
  typename Shape::Columns columns = {};
  rows.first_sweep(seen, columns);
  rows.store_statistics();
  if (x.ddout.data)
    simt_store<Shape>(columns, A(1), call.dtype, x.ddout, head, query, call.queries,
                      call.value_dim);
  typename Shape::Columns dq2 = {};
  if (x.dq2.data) {
    rows.second_sweep(seen, dq2);
    simt_store<Shape>(dq2, call.scale, call.dtype, x.dq2, head, query, call.queries, call.head_dim);
  }
}

// ---- keys ---------------------------------------------------------------------------------------
/// Rows of all tiles of scores are keys, columns query rows.
template <class Shape> struct SimtDoubleKeys {
  using A = typename Shape::Sum;
  using Scores = typename Shape::Scores;
  using Columns = typename Shape::Columns;
  const AttentionCall<A>& call;
  const AttentionDoubleOperands<A>& x;
  const AttentionHead head;
  const int key, pitch;
  A *k, *v, *ddk, *ddv, *stream, *weights;

  METTLE_DEVICE void load_keys(A* tile, const AttentionIn& from, int cols) {
    if (from.data) simt_load<Shape>(tile, pitch, call.dtype, from, head, key, call.keys, cols);
  }
  METTLE_DEVICE void load() {
    load_keys(k, x.k, call.head_dim);
    load_keys(v, x.v, call.value_dim);
    load_keys(ddk, x.ddk, call.head_dim);
    load_keys(ddv, x.ddv, call.value_dim);
  }
  METTLE_DEVICE void next(const AttentionIn& from, int query, int cols) {
    dev::sync_block();  // `stream` is used up
    simt_load<Shape>(stream, pitch, call.dtype, from, head, query, call.queries, cols);
    dev::sync_block();  // it is in; so are weights and, at first, the keys
  }
  METTLE_DEVICE void put(const Scores& scores) {
    dev::sync_block();  // the weights are used up
    simt_put_scores<Shape>(weights, scores);
  }

  // The products of the tile; q stays in `stream`.
  METTLE_DEVICE void make(int query, Scores& s, Scores& tangent, Scores& a, Scores& b) {
    if (x.ddq.data) {
      next(x.ddq, query, call.head_dim);
      simt_add_scores<Shape>(tangent, k, stream, pitch, call.head_dim);
    }
    next(x.dout, query, call.value_dim);
    simt_add_scores<Shape>(a, v, stream, pitch, call.value_dim);
    if (x.ddv.data) simt_add_scores<Shape>(b, ddv, stream, pitch, call.value_dim);
    next(x.q, query, call.head_dim);
    simt_add_scores<Shape>(s, k, stream, pitch, call.head_dim);
    if (x.ddk.data) simt_add_scores<Shape>(tangent, ddk, stream, pitch, call.head_dim);
  }

  // Products -> s = F, tangent = Z o P o (U - u), a = E.
  METTLE_DEVICE void differentiate(int query, Scores& s, Scores& tangent, Scores& a,
                                   const Scores& b) {
    METTLE_UNROLL
    for (int j = 0; j < Shape::micro; ++j) {
      const int row = query + simt_x() + 16 * j;
      const A lse = attention_row_lse(call, head, x.lse, row);
      const bool inside = row < call.queries;
      const std::int64_t at = head.index * call.queries + row;
      const A d = inside ? x.d[at] : A(0), u = inside ? x.u[at] : A(0);
      const A dd = inside ? x.dd[at] : A(0);
      METTLE_UNROLL
      for (int i = 0; i < Shape::micro; ++i) {
        const int column = key + simt_y() + 16 * i;
        const A p = attention_exp2(attention_score(call, head, row, column, s[i][j]) - lse);
        const A z = call.drops ? attention_keep(call, head, row, column) : A(1);
        const A centred = z * a[i][j] - d, centred_u = tangent[i][j] * call.scale - u;
        s[i][j] = p * (centred_u * centred + z * b[i][j] - dd);
        tangent[i][j] = z * p * centred_u;
        a[i][j] = p * centred;
      }
    }
  }

  METTLE_DEVICE void sweep(Columns& dk2, Columns& dv2) {
    const int first = dev::maximum(call.first_viewer(key), 0) / Shape::rows * Shape::rows;
    for (int query = first; query < call.queries; query += Shape::rows) {
      Scores s = {}, tangent = {}, a = {}, b = {};
      make(query, s, tangent, a, b);
      differentiate(query, s, tangent, a, b);
      if (x.dk2.data) {
        put(s);
        dev::sync_block();  // F is in
        simt_add_columns<Shape>(dk2, weights, stream, pitch, simt_rows<Shape>(query, call.queries),
                                call.head_dim);
        if (x.ddq.data) {
          put(a);
          next(x.ddq, query, call.head_dim);
          simt_add_columns<Shape>(dk2, weights, stream, pitch,
                                  simt_rows<Shape>(query, call.queries), call.head_dim);
        }
      }
      if (!x.dv2.data || !(x.ddq.data || x.ddk.data)) continue;
      put(tangent);
      next(x.dout, query, call.value_dim);
      simt_add_columns<Shape>(dv2, weights, stream, pitch, simt_rows<Shape>(query, call.queries),
                              call.value_dim);
    }
  }
};

/// Grid: key tiles x heads, tiles fastest.
template <class Shape>
METTLE_GLOBAL(256, 1)
void attention_simt_double_keys(const AttentionCall<typename Shape::Sum> call,
                                const AttentionDoubleOperands<typename Shape::Sum> x,
                                const int pitch, const int tiles) {
  using A = typename Shape::Sum;
  dev::SharedCarver carver;
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int key = dev::block_index().x % tiles * Shape::rows;
  const int size = Shape::rows * pitch;
  A* const k = carver.take<A>(size);
  A* const v = carver.take<A>(size);
  A* const ddk = carver.take<A>(size);
  A* const ddv = carver.take<A>(size);
  A* const stream = carver.take<A>(size);
  A* const weights = carver.take<A>(Shape::score_size);
  SimtDoubleKeys<Shape> keys{call, x, head, key, pitch, k, v, ddk, ddv, stream, weights};
  keys.load();
  typename Shape::Columns dk2 = {}, dv2 = {};
  keys.sweep(dk2, dv2);
  if (x.dk2.data)
    simt_store<Shape>(dk2, call.scale, call.dtype, x.dk2, head, key, call.keys, call.head_dim);
  if (x.dv2.data)
    simt_store<Shape>(dv2, A(1), call.dtype, x.dv2, head, key, call.keys, call.value_dim);
}

}  // namespace mettle::kernels::cuda
