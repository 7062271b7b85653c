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
#include "kernels/cuda/attention_mma_gradient.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

struct MmaBackwardOperands {
  AttentionIn q, k, v, out, dout;
  const float* lse;
  AttentionOut dq, dk, dv;
  MmaRowStatistics* statistics;  // (B, H, Nq): queries write them, keys read them
};

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

  MmaQueryRows<Shape> rows;
  rows.load(call, head, x.out, x.dout, x.lse, query);

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
    rows.weigh(s, factor);
    rows.differentiate(s, a);
    mma_add_columns<Shape>(dq, s, k + stage * Shape::block_size);
  }
  dev::wait_copies<0>();
  rows.store(x.statistics + head.index * call.queries, query, call.queries, x.dq.data);
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  if (x.dq.data)
    mma_store<Shape>(dq, call.scale, q + own, x.dq, head, query, call.queries, call.head_dim);
}

// ---- keys ---------------------------------------------------------------------------------------
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
    mma_weigh_keys<Shape>(s, statistics + stage * Shape::block, factor);
    mma_differentiate_keys<Shape>(a, s, statistics + stage * Shape::block);
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
