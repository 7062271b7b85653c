// Attention backward by mma.sync, in two kernels without atomics:
//   queries: a block owns query rows and walks over the keys    D = rowsum(P o A), dq = tau E k
//   keys:    a block owns keys and walks over the query rows    dk = tau E^T q, dv = (Z o P)^T dout
// with P = exp(S - lse), A = Z o (dout v^T), E = P o (A - D). Keys are the rows of their tiles, so
// that P^T and E^T are left operands as they lie in registers.
// dq takes D from the rounded output; its sweep sums the exact D for the keys on the way.
//
// Per head, in products of 2 Nq Nk D FLOP: 3 + 4 = 7. Five would do if the second kernel added dq
// up as well; without atomics that takes a partial dq per key tile. For a tile of 128 x 128 scores
// it saves 2 products, 65536 D FLOP, and costs 1024 D bytes: 64 FLOP per byte, where the machine
// does about 120 (400 TF/s, 3.35 TB/s), and N^2 D / 128 floats of memory. Making S and A again is
// cheaper. Atomics save nothing either: the exact D for the keys would still take S and A of a
// first sweep, which makes seven. Bytes: 5 Nq D + 4 Nk D halves, 12 bytes per row of statistics;
// operands of the other side come from L2. Prediction, not measured, for an H100: 2 Nq Nk D * 5
// FLOP (the usual count) at 220 to 260 TF/s for D = 64, 230 to 270 for D = 128, N >= 2048.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Of a query row, for the kernel that owns keys: lse in units of ln 2 (+inf: no valid key), and D.
struct alignas(8) MmaRowStatistics {
  float lse;
  float d;
};

struct MmaBackwardOperands {
  AttentionIn q, k, v, out, dout;
  const float* lse;
  AttentionOut dq, dk, dv;
  MmaRowStatistics* statistics;  // (B, H, Nq): queries write them, keys read them
};

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

// ---- queries ------------------------------------------------------------------------------------
/// Grid: query tiles x heads, tiles fastest and, with a causal mask, the longest first.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_mma_backward_queries(const AttentionCall<float> call, const MmaBackwardOperands x,
                                    const int tiles) {
  using T = typename Shape::T;
  dev::SharedCarver carver;
  T* const q = carver.take<T>(Shape::own_size);
  T* const g = carver.take<T>(Shape::own_size);
  T* const k = carver.take<T>(2 * Shape::block_size);
  T* const v = carver.take<T>(2 * Shape::block_size);
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int tile = dev::block_index().x % tiles;
  const int first = (call.causal ? tiles - 1 - tile : tile) * Shape::rows;
  const int last = dev::minimum(first + Shape::rows, call.queries) - 1;
  const int seen = x.dq.data ? call.visible(last) : 0;
  const int own = dev::warp_index() * Shape::warp_rows * Shape::pitch;
  const int query = first + dev::warp_index() * Shape::warp_rows;

  const auto load_keys = [&](int key, int stage) {
    const int at = stage * Shape::block_size;
    mma_load<Shape, Shape::block>(k + at, x.k, head, key, call.keys, call.head_dim);
    mma_load<Shape, Shape::block>(v + at, x.v, head, key, call.keys, call.value_dim);
  };
  if (seen > 0) {
    mma_load<Shape, Shape::rows>(q, x.q, head, first, call.queries, call.head_dim);
    mma_load<Shape, Shape::rows>(g, x.dout, head, first, call.queries, call.value_dim);
    load_keys(0, 0);
  }
  dev::commit_copies();

  float lse[Shape::row_tiles][2], d[Shape::row_tiles][2], exact[Shape::row_tiles][2] = {};
  mma_each_row<Shape>([&](int m, int h) {
    const int row = query + mma_row() + 16 * m + 8 * h;
    lse[m][h] = attention_row_lse(call, head, x.lse, row);
    const float part =
        row < call.queries ? mma_row_product<T>(x.out, x.dout, head, row, call.value_dim) : 0.0f;
    d[m][h] = mma_row_sum(part);
  });

  typename Shape::Columns dq = {};
  const float factor = mma_factor<Extras>(call);
  const int whole = dev::minimum(call.visible(first), call.keys);
  for (int key = 0, stage = 0; key < seen; key += Shape::block, stage ^= 1) {
    dev::wait_copies<0>();
    dev::sync_block();  // the tile is in, and nobody reads the one before
    if (key + Shape::block < seen) load_keys(key + Shape::block, stage ^ 1);
    dev::commit_copies();
    typename Shape::Scores s = {}, a = {};
    mma_add_scores<Shape>(s, q + own, k + stage * Shape::block_size);
    mma_mask_queries<Shape, Extras>(s, call, head, query, key, key + Shape::block <= whole);
    mma_add_scores<Shape>(a, g + own, v + stage * Shape::block_size);
    if (Extras && call.drops) {
      MmaDropout<Shape, false> dropout;
      dropout.draw(call, head, query, key);
      dropout.apply(a, call.kept);
    }
    mma_each<Shape>([&](int m, int n, int e) {
      const float p = dev::fast_exp2(s[m][n][e] * factor - lse[m][e / 2]);
      exact[m][e / 2] += p * a[m][n][e];
      s[m][n][e] = p * (a[m][n][e] - d[m][e / 2]);
    });
    mma_add_columns<Shape>(dq, s, k + stage * Shape::block_size);
  }
  dev::wait_copies<0>();
  mma_each_row<Shape>([&](int m, int h) {
    const float sum = mma_row_sum(exact[m][h]);
    const int row = query + mma_row() + 16 * m + 8 * h;
    if (mma_column() == 0 && row < call.queries)
      x.statistics[head.index * call.queries + row] = {lse[m][h], x.dq.data ? sum : d[m][h]};
  });
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  if (x.dq.data)
    mma_store<Shape>(dq, call.scale, q + own, x.dq, head, query, call.queries, call.head_dim);
}

// ---- keys ---------------------------------------------------------------------------------------
// s, a = (q k^T)^T masked, Z o (dout v^T)^T -> P^T, E^T.
template <class Shape>
METTLE_DEVICE void mma_differentiate_keys(typename Shape::Scores& s, typename Shape::Scores& a,
                                          const MmaRowStatistics* statistics, float factor) {
  METTLE_UNROLL
  for (int n = 0; n < Shape::column_tiles; ++n) {
    // Two neighbouring rows: lse, D, lse, D.
    const auto rows = *reinterpret_cast<const dev::Float4*>(statistics + 8 * n + mma_column());
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
    for (int e = 0; e < 4; ++e) {
      const float p = dev::fast_exp2(s[m][n][e] * factor - rows.at[2 * (e % 2)]);
      s[m][n][e] = p;
      a[m][n][e] = p * (a[m][n][e] - rows.at[2 * (e % 2) + 1]);
    }
  }
}

/// Grid: key tiles x heads, tiles fastest.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_mma_backward_keys(const AttentionCall<float> call, const MmaBackwardOperands x,
                                 const int tiles) {
  using T = typename Shape::T;
  dev::SharedCarver carver;
  T* const k = carver.take<T>(Shape::own_size);
  T* const v = carver.take<T>(Shape::own_size);
  T* const q = carver.take<T>(2 * Shape::block_size);
  T* const g = carver.take<T>(2 * Shape::block_size);
  auto* const statistics = carver.take<MmaRowStatistics>(2 * Shape::block);
  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int first = dev::block_index().x % tiles * Shape::rows;
  const int own = dev::warp_index() * Shape::warp_rows * Shape::pitch;
  const int key = first + dev::warp_index() * Shape::warp_rows;
  const std::uint32_t valid = mma_valid_keys(call, head, key);

  const auto load_queries = [&](int query, int stage) {
    const int at = stage * Shape::block_size;
    mma_load<Shape, Shape::block>(q + at, x.q, head, query, call.queries, call.head_dim);
    mma_load<Shape, Shape::block>(g + at, x.dout, head, query, call.queries, call.value_dim);
    mma_load_statistics<Shape::block>(statistics + stage * Shape::block, x.statistics, head, query,
                                      call.queries);
  };
  const int start = dev::maximum(call.first_viewer(first), 0) / Shape::block * Shape::block;
  if (start < call.queries) {
    mma_load<Shape, Shape::rows>(k, x.k, head, first, call.keys, call.head_dim);
    mma_load<Shape, Shape::rows>(v, x.v, head, first, call.keys, call.value_dim);
    load_queries(start, 0);
  }
  dev::commit_copies();

  typename Shape::Columns dk = {}, dv = {};
  const float factor = mma_factor<Extras>(call);
  const int whole = call.first_viewer(first + Shape::rows - 1);  // queries that see every key
  for (int query = start, stage = 0; query < call.queries; query += Shape::block, stage ^= 1) {
    dev::wait_copies<0>();
    dev::sync_block();  // the tile is in, and nobody reads the one before
    if (query + Shape::block < call.queries) load_queries(query + Shape::block, stage ^ 1);
    dev::commit_copies();
    const int at = stage * Shape::block_size;
    typename Shape::Scores s = {}, a = {};
    mma_add_scores<Shape>(s, k + own, q + at);
    mma_mask_keys<Shape, Extras>(s, call, head, query, key, valid, query >= whole);
    mma_add_scores<Shape>(a, v + own, g + at);
    MmaDropout<Shape, true> dropout;
    if (Extras && call.drops) {
      dropout.draw(call, head, query, key);
      dropout.apply(a, call.kept);
    }
    mma_differentiate_keys<Shape>(s, a, statistics + stage * Shape::block, factor);
    if (Extras && call.drops) dropout.apply(s, call.kept);
    if (x.dv.data) mma_add_columns<Shape>(dv, s, g + at);
    if (x.dk.data) mma_add_columns<Shape>(dk, a, q + at);
  }
  dev::wait_copies<0>();
  dev::sync_block();  // every warp's copies are in, should there be no query
  if (x.dk.data)
    mma_store<Shape>(dk, call.scale, k + own, x.dk, head, key, call.keys, call.head_dim);
  if (x.dv.data) mma_store<Shape>(dv, 1.0f, v + own, x.dv, head, key, call.keys, call.value_dim);
}

}  // namespace mettle::kernels::cuda
