// Attention double backward by mma.sync, in three kernels without atomics. Symbols as in
// attention_simt_double_backward.cuh: x, y, w = ddq, ddk, ddv; absent ones are tiles of zeros.
//   tangent: a block owns query rows    ddout = (Z o P o (U - u)) v + (Z o P) w, and u, D, Dd
//   queries: a block owns query rows    dq2 = tau (F k + E y)
//   keys:    a block owns keys          dk2 = tau (F^T q + E^T x), dv2 = (Z o P o (U - u))^T dout
// The tangent alone is the forward-mode derivative of attention (no dout, no statistics). It sums
// Z o P o (U - c), with c a row's mean of U over the first tile of keys, so that a common offset of
// U is gone before P o U is rounded to 16 bits; at the end u - c times the forward's output is
// taken off. D and Dd are summed in f32 from P, A, B and U, not taken from outputs: those were made
// of rounded P, and in rows whose weight sits on one key what is left of E and F is small against
// that.
//
// Products of 2 Nq Nk D FLOP per head: 7 + 7 + 8 = 22, three exponentials per score. Making dq2 in
// the first sweep by late centring would take 18, but three accumulators of D columns, and products
// of U before u is known; with dq2 added up by atomics it is 17 (7 + 10). Products that share a
// right operand read it once.
//
// Bytes: 12 N D halves as the problem demands, 16 per row of statistics, the other side from L2.
//
// Prediction, not measured, for an H100 at D = 64 and N >= 2048: 220 to 260 TF/s, that is 3.1
// to 3.5 times the time of the first backward of attention_mma_backward.cuh.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tangent.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// An absent cotangent has another operand's data and `has_*` false.
struct MmaDoubleOperands {
  AttentionIn q, k, v, out, dout, ddq, ddk, ddv;
  bool has_ddq, has_ddk, has_ddv;
  const float* lse;
  AttentionOut dq2, dk2, dv2, ddout;
  MmaTangentStatistics* statistics;  // (B, H, Nq): the tangent writes them, the others read them
};

/// Tiles of k, y, v, w of a block that owns query rows, two stages of each.
template <class Shape> struct MmaDoubleKeyTiles {
  using T = typename Shape::T;
  T *k, *y, *v, *w;
  METTLE_DEVICE void take(dev::SharedCarver& carver) {
    k = carver.take<T>(2 * Shape::block_size);
    y = carver.take<T>(2 * Shape::block_size);
    v = carver.take<T>(2 * Shape::block_size);
    w = carver.take<T>(2 * Shape::block_size);
  }
  METTLE_DEVICE void load(const AttentionCall<float>& call, const MmaDoubleOperands& x,
                          const AttentionHead& head, int key, int stage) {
    constexpr int rows = Shape::block;
    const int at = stage * Shape::block_size, keys = call.keys;
    mma_load<Shape, rows>(k + at, x.k, head, key, keys, call.head_dim);
    mma_load<Shape, rows>(y + at, x.ddk, head, key, x.has_ddk ? keys : 0, call.head_dim);
    mma_load<Shape, rows>(v + at, x.v, head, key, keys, call.value_dim);
    mma_load<Shape, rows>(w + at, x.ddv, head, key, x.has_ddv ? keys : 0, call.value_dim);
  }
};

/// s = q k^T, u = x k^T + q y^T of the warp's rows.
template <class Shape>
METTLE_DEVICE void mma_scores_and_tangents(typename Shape::Scores& s, typename Shape::Scores& u,
                                           const typename Shape::T* q, const typename Shape::T* x,
                                           const typename Shape::T* k, const typename Shape::T* y) {
  mma_add_two_scores<Shape>(s, q, u, x, k);
  mma_add_scores<Shape>(u, q, y);
}

// ---- tangent ------------------------------------------------------------------------------------
/// A block's query rows, and the walk over the keys that both sweeps by query rows share.
template <class Shape, bool Extras> struct MmaDoubleQueryTile {
  using T = typename Shape::T;
  T* q;
  T* ddq;
  T* g;
  MmaDoubleKeyTiles<Shape> keys;
  AttentionHead head;
  int first;  // row of the block
  int query;  // row of the warp
  int own;    // where the warp's rows begin in their tiles
  int seen;   // keys that some row of the block sees

  METTLE_DEVICE void take(const AttentionCall<float>& call, int tiles) {
    dev::SharedCarver carver;
    q = carver.take<T>(Shape::own_size);
    ddq = carver.take<T>(Shape::own_size);
    g = carver.take<T>(Shape::own_size);
    keys.take(carver);
    head = attention_head(dev::block_index().x / tiles, call.heads);
    const int tile = dev::block_index().x % tiles;
    first = (call.causal ? tiles - 1 - tile : tile) * Shape::rows;
    seen = call.visible(dev::minimum(first + Shape::rows, call.queries) - 1);
    own = dev::warp_index() * Shape::warp_rows * Shape::pitch;
    query = first + dev::warp_index() * Shape::warp_rows;
  }

  /// Sets the copies of the rows and of the first tile of keys going.
  METTLE_DEVICE void load(const AttentionCall<float>& call, const MmaDoubleOperands& x,
                          bool with_dout) {
    if (seen > 0) {
      mma_load<Shape, Shape::rows>(q, x.q, head, first, call.queries, call.head_dim);
      mma_load<Shape, Shape::rows>(ddq, x.ddq, head, first, x.has_ddq ? call.queries : 0,
                                   call.head_dim);
      if (with_dout)
        mma_load<Shape, Shape::rows>(g, x.dout, head, first, call.queries, call.value_dim);
      keys.load(call, x, head, 0, 0);
    }
    dev::commit_copies();
  }

  /// Calls tile(s, u, at, key) for every tile of keys: the masked scores, their tangents, where the
  /// tile lies in `keys`, and its first key.
  template <class Tile>
  METTLE_DEVICE void sweep(const AttentionCall<float>& call, const MmaDoubleOperands& x,
                           const Tile& tile) {
    const int whole = dev::minimum(call.visible(first), call.keys);
    for (int key = 0, stage = 0; key < seen; key += Shape::block, stage ^= 1) {
      dev::wait_copies<0>();
      dev::sync_block();  // the tile is in, and nobody reads the one before
      if (key + Shape::block < seen) keys.load(call, x, head, key + Shape::block, stage ^ 1);
      dev::commit_copies();
      const int at = stage * Shape::block_size;
      typename Shape::Scores s = {}, u = {};
      mma_scores_and_tangents<Shape>(s, u, q + own, ddq + own, keys.k + at, keys.y + at);
      mma_mask_queries<Shape, Extras>(s, call, head, query, key, key + Shape::block <= whole);
      tile(s, u, at, key);
    }
    dev::wait_copies<0>();
  }
};

/// Grid: query tiles x heads, tiles fastest and, with a causal mask, the longest first.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_tangent(const AttentionCall<float> call, const MmaDoubleOperands x,
                           const int tiles) {
  MmaDoubleQueryTile<Shape, Extras> block;
  block.take(call, tiles);
  block.load(call, x, x.statistics != nullptr);
  MmaTangentRows<Shape> rows;
  mma_each_row<Shape>([&](int m, int h) {
    rows.lse[m][h] =
        attention_row_lse(call, block.head, x.lse, block.query + mma_row() + 16 * m + 8 * h);
  });
  block.sweep(call, x, [&](typename Shape::Scores& s, typename Shape::Scores& u, int at, int key) {
    typename Shape::Scores a = {}, b = {};
    if (x.statistics) {
      mma_add_scores<Shape>(a, block.g + block.own, block.keys.v + at);
      mma_add_scores<Shape>(b, block.g + block.own, block.keys.w + at);
    }
    mma_tangent_weights<Shape, Extras>(s, u, a, b, rows, key == 0, call, block.head, block.query,
                                       key);
    mma_add_columns<Shape>(rows.ddout, u, block.keys.v + at);
    mma_add_columns<Shape>(rows.ddout, s, block.keys.w + at);
  });
  MmaTangentStatistics* const statistics =
      x.statistics ? x.statistics + block.head.index * call.queries : nullptr;
  mma_finish_tangent<Shape>(rows, call, block.head, x.out, statistics, call.queries, block.query);
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  if (x.ddout.data)
    mma_store<Shape>(rows.ddout, 1.0f, block.q + block.own, x.ddout, block.head, block.query,
                     call.queries, call.value_dim);
}

// ---- queries ------------------------------------------------------------------------------------
/// Grid as the tangent's. dq2 is wanted.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_double_queries(const AttentionCall<float> call, const MmaDoubleOperands x,
                                  const int tiles) {
  MmaDoubleQueryTile<Shape, Extras> block;
  block.take(call, tiles);
  block.load(call, x, true);
  MmaTangentStatistics rows[Shape::row_tiles][2];
  mma_load_tangent_rows<Shape>(rows, x.statistics + block.head.index * call.queries, block.query,
                               call.queries);
  typename Shape::Columns dq2 = {};
  const float factor = mma_factor<Extras>(call);
  block.sweep(call, x, [&](typename Shape::Scores& s, typename Shape::Scores& u, int at, int key) {
    typename Shape::Scores a = {}, b = {};
    mma_add_scores<Shape>(a, block.g + block.own, block.keys.v + at);
    mma_add_scores<Shape>(b, block.g + block.own, block.keys.w + at);
    if (Extras && call.drops) {
      MmaDropout<Shape, false> dropout;
      dropout.draw(call, block.head, block.query, key);
      dropout.apply(a, call.kept);
      dropout.apply(b, call.kept);
    }
    mma_differentiate_double_queries<Shape>(s, u, a, b, rows, factor, call.scale);
    mma_add_columns<Shape>(dq2, s, block.keys.k + at);
    mma_add_columns<Shape>(dq2, a, block.keys.y + at);
  });
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  mma_store<Shape>(dq2, call.scale, block.q + block.own, x.dq2, block.head, block.query,
                   call.queries, call.head_dim);
}

// ---- keys ---------------------------------------------------------------------------------------
/// Tiles of q, x, dout and statistics of a block that owns keys, two stages of each.
template <class Shape> struct MmaDoubleQueryTiles {
  using T = typename Shape::T;
  T *q, *ddq, *g;
  MmaTangentStatistics* statistics;
  METTLE_DEVICE void take(dev::SharedCarver& carver) {
    q = carver.take<T>(2 * Shape::block_size);
    ddq = carver.take<T>(2 * Shape::block_size);
    g = carver.take<T>(2 * Shape::block_size);
    statistics = carver.take<MmaTangentStatistics>(2 * Shape::block);
  }
  METTLE_DEVICE void load(const AttentionCall<float>& call, const MmaDoubleOperands& x,
                          const AttentionHead& head, int query, int stage) {
    constexpr int rows = Shape::block;
    const int at = stage * Shape::block_size, queries = call.queries;
    mma_load<Shape, rows>(q + at, x.q, head, query, queries, call.head_dim);
    mma_load<Shape, rows>(ddq + at, x.ddq, head, query, x.has_ddq ? queries : 0, call.head_dim);
    mma_load<Shape, rows>(g + at, x.dout, head, query, queries, call.value_dim);
    mma_load_statistics<rows>(statistics + stage * rows, x.statistics, head, query, queries);
  }
};

/// A block's key rows, and the walk over the query rows. Grid: key tiles x heads, tiles fastest.
template <class Shape, bool Extras> struct MmaDoubleKeyTile {
  using T = typename Shape::T;
  T* k;
  T* y;
  T* v;
  T* w;
  MmaDoubleQueryTiles<Shape> queries;
  AttentionHead head;
  int first;  // row of the block

  METTLE_DEVICE void take(dev::SharedCarver& carver, const AttentionCall<float>& call, int tiles) {
    k = carver.take<T>(Shape::own_size);
    y = carver.take<T>(Shape::own_size);
    v = carver.take<T>(Shape::own_size);
    w = carver.take<T>(Shape::own_size);
    queries.take(carver);
    head = attention_head(dev::block_index().x / tiles, call.heads);
    first = dev::block_index().x % tiles * Shape::rows;
  }

  /// Sets the copies of the keys and of the first tile of queries going.
  METTLE_DEVICE void load(const AttentionCall<float>& call, const MmaDoubleOperands& x, int start) {
    if (start < call.queries) {
      constexpr int rows = Shape::rows;
      mma_load<Shape, rows>(k, x.k, head, first, call.keys, call.head_dim);
      mma_load<Shape, rows>(y, x.ddk, head, first, x.has_ddk ? call.keys : 0, call.head_dim);
      mma_load<Shape, rows>(v, x.v, head, first, call.keys, call.value_dim);
      mma_load<Shape, rows>(w, x.ddv, head, first, x.has_ddv ? call.keys : 0, call.value_dim);
      queries.load(call, x, head, start, 0);
    }
    dev::commit_copies();
  }

  /// dk2 and dv2. Calls tile(F^T, E^T, query) for every tile of queries: the warp's rows, and the
  /// tile's first query.
  template <class Tile>
  METTLE_DEVICE void sweep(const AttentionCall<float>& call, const MmaDoubleOperands& x,
                           const Tile& tile) {
    const int own = dev::warp_index() * Shape::warp_rows * Shape::pitch;
    const int key = first + dev::warp_index() * Shape::warp_rows;
    const std::uint32_t valid = mma_valid_keys(call, head, key);
    const int start = dev::maximum(call.first_viewer(first), 0) / Shape::block * Shape::block;
    load(call, x, start);
    typename Shape::Columns dk2 = {}, dv2 = {};
    const float factor = mma_factor<Extras>(call);
    const int whole = call.first_viewer(first + Shape::rows - 1);  // queries that see every key
    for (int query = start, stage = 0; query < call.queries; query += Shape::block, stage ^= 1) {
      dev::wait_copies<0>();
      dev::sync_block();  // the tile is in, and nobody reads the one before
      if (query + Shape::block < call.queries)
        queries.load(call, x, head, query + Shape::block, stage ^ 1);
      dev::commit_copies();
      const int at = stage * Shape::block_size;
      typename Shape::Scores s = {}, u = {}, a = {}, b = {};
      mma_add_two_scores<Shape>(s, k + own, u, y + own, queries.q + at);
      mma_add_scores<Shape>(u, k + own, queries.ddq + at);
      mma_mask_keys<Shape, Extras>(s, call, head, query, key, valid, query >= whole);
      mma_add_two_scores<Shape>(a, v + own, b, w + own, queries.g + at);
      MmaDropout<Shape, true> dropout;
      if (Extras && call.drops) {
        dropout.draw(call, head, query, key);
        dropout.apply(a, call.kept);
        dropout.apply(b, call.kept);
      }
      mma_differentiate_double_keys<Shape>(s, u, a, b, queries.statistics + stage * Shape::block,
                                           factor, call.scale);
      if (Extras && call.drops) dropout.apply(u, call.kept);
      mma_add_columns<Shape>(dv2, u, queries.g + at);
      mma_add_columns<Shape>(dk2, s, queries.q + at);
      mma_add_columns<Shape>(dk2, a, queries.ddq + at);
      tile(s, a, query);
    }
    dev::wait_copies<0>();
    dev::sync_block();  // every warp's copies are in, should there be no query
    if (x.dk2.data)
      mma_store<Shape>(dk2, call.scale, k + own, x.dk2, head, key, call.keys, call.head_dim);
    if (x.dv2.data)
      mma_store<Shape>(dv2, 1.0f, v + own, x.dv2, head, key, call.keys, call.value_dim);
  }
};

template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_double_keys(const AttentionCall<float> call, const MmaDoubleOperands x,
                               const int tiles) {
  dev::SharedCarver carver;
  MmaDoubleKeyTile<Shape, Extras> block;
  block.take(carver, call, tiles);
  block.sweep(call, x, [](const auto&, const auto&, int) {});
}

}  // namespace mettle::kernels::cuda
