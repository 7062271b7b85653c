// Attention double backward by wgmma and TMA: the three kernels of
// attention_mma_double_backward.cuh with the blocks, copies and turns of
// attention_wgmma_backward.cuh. Symbols as in attention_simt_double_backward.cuh: x, y, w = ddq,
// ddk, ddv; absent ones read as zeros.
//   tangent: a block owns query rows    ddout = (Z o P o (U - u)) v + (Z o P) w, and u, D, Dd
//   queries: a block owns query rows    dq2 = tau (F k + E y)
//   keys:    a block owns keys          dk2 = tau (F^T q + E^T x), dv2 = (Z o P o (U - u))^T dout
// The tangent alone is the forward-mode derivative of attention: no dout, no statistics.
//
// Five products give S, U, A, B of a tile, two or three take what was made of them. Per head 7 + 7
// + 8 = 22 products of 2 Nq Nk D FLOP, three exponentials per score, as mma. In cycles of an H100's
// multiprocessor, for 64 own and 64 walked rows at D = 64: a product 128 (2048 multiply-adds each),
// so 896, 896 and 1024; exponentials 256 (16 each); about 15 other instructions per score 480 (128
// each). At D = 128 keys are walked over 32 queries at a time, whose five products read 192 bytes
// of shared memory per cycle where there are 128: 1.3 times the cycles of the products.
//
// Prediction, not measured: 15 products of FLOP (the usual count; 22 are made) at 330 to 420 TF/s
// for D = 64, 350 to 450 for D = 128, N >= 2048. The tangent alone: 2.5 to 3 times the
// forward.
//
// Walked tiles have 64 rows where sums and scores then fit 192 of the 232 registers of who
// multiplies, else 32; of queries, with an additive mask or dropout at D = 128, 16. No spills.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tangent.cuh"
#include "kernels/cuda/attention_wgmma_ring.cuh"
#include "kernels/cuda/attention_wgmma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Of the tangent and of the queries.
struct WgmmaDoubleQueriesOperands {
  WgmmaMaps<3, 4> maps;  // q, x, dout and k, y, v, w
  dev::TensorMap to;     // ddout or dq2, boxes of 64 rows
  bool wants_to;
  AttentionIn out;
  const float* lse;
  WgmmaStatistics<MmaTangentStatistics> statistics;
};

struct WgmmaDoubleKeysOperands {
  WgmmaMaps<4, 3> maps;  // k, y, v, w and q, x, dout
  dev::TensorMap dk2, dv2;
  bool wants_dk2, wants_dv2;
  WgmmaStatistics<MmaTangentStatistics> statistics;
};

template <class Shape> using WgmmaDoubleQueriesRing = WgmmaRing<Shape, 3, 4, MmaTangentStatistics>;
template <class Shape> using WgmmaDoubleKeysRing = WgmmaRing<Shape, 4, 3, MmaTangentStatistics>;

/// What a tile's first products make: S, U / tau, dout v^T, dout w^T, or with keys as rows their
/// transposes.
template <class Shape> struct WgmmaDoubleScores {
  typename Shape::Scores s = {}, u = {}, a = {}, b = {};
};

// Issues them: s, then u, then a and b, a group each. Own and walked operands are in an order in
// which that is the same with queries and with keys as rows. Without dout a and b stay zero.
template <class Shape, bool WithDout, int Own, int Walked>
METTLE_DEVICE void wgmma_double_scores(
    WgmmaDoubleScores<Shape>& x, const WgmmaRing<Shape, Own, Walked, MmaTangentStatistics>& ring,
    int group, int t) {
  dev::fence_multiplies(x.s, x.u);
  wgmma_scores<Shape>(x.s, ring.own_rows(0, group), ring.tile(0, t));
  dev::commit_multiplies();
  wgmma_scores<Shape>(x.u, ring.own_rows(1, group), ring.tile(0, t));
  wgmma_scores<Shape>(x.u, ring.own_rows(0, group), ring.tile(1, t), true);
  dev::commit_multiplies();
  if constexpr (WithDout) {
    dev::fence_multiplies(x.a, x.b);
    wgmma_scores<Shape>(x.a, ring.own_rows(2, group), ring.tile(2, t));
    wgmma_scores<Shape>(x.b, ring.own_rows(Own - 1, group), ring.tile(Walked - 1, t));
  }
  dev::commit_multiplies();
}

// ---- tangent and queries ------------------------------------------------------------------------
// What a warpgroup does with its 64 queries: make(first, second, scores, key) turns the scores of a
// tile, masked, into two left operands, and sums += first o + second o', where o and o' are the
// walked operands Pair and Pair + 1.
template <class Shape, bool Extras, bool WithDout, int Pair, class Make>
METTLE_DEVICE void wgmma_double_walk_keys(typename Shape::Columns& sums,
                                          const WgmmaDoubleQueriesRing<Shape>& ring,
                                          const AttentionCall<float>& call,
                                          const AttentionHead& head, int group, int query,
                                          int tiles, const Make& make) {
  const WgmmaTurns<Shape> turns(group, 2 * tiles);
  const int whole = call.visible(query);  // keys that every row of the warp sees
  dev::mbarrier_wait(ring.own_full, 0);
  for (int t = 0; t < tiles; ++t) {
    const int key = t * Shape::block;
    WgmmaDoubleScores<Shape> scores;
    ring.await(t);
    turns.take();
    wgmma_double_scores<Shape, WithDout>(scores, ring, group, t);
    turns.give(2 * t);
    dev::wait_multiplies<2>(scores.s);
    mma_mask_queries<Shape, Extras>(scores.s, call, head, query, key, key + Shape::block <= whole);
    dev::wait_multiplies<1>(scores.u);
    dev::wait_multiplies<0>(scores.a, scores.b);
    typename Shape::Weights first = {}, second = {};
    make(first, second, scores, key);
    turns.take();
    dev::fence_multiplies(sums, first, second);
    wgmma_add_values<Shape>(sums, first, ring.tile(Pair, t));
    wgmma_add_values<Shape>(sums, second, ring.tile(Pair + 1, t));
    dev::commit_multiplies();
    turns.give(2 * t + 1);
    dev::wait_multiplies<0>(sums, first);
    dev::wait_multiplies<0>(second);
    ring.release(t);
  }
}

/// WithDout: the statistics are wanted.
template <class Shape, bool Extras, bool WithDout>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_tangent(const AttentionCall<float> call,
                             METTLE_GRID_CONSTANT const WgmmaDoubleQueriesOperands x,
                             const int tiles) {
  METTLE_SHARED(dev::MBarrier, barriers, WgmmaDoubleQueriesRing<Shape>::barriers);
  dev::SharedCarver carver;
  const WgmmaDoubleQueriesRing<Shape> ring(carver, barriers);
  const WgmmaQueryTile<Shape> block(call, tiles);
  if (!wgmma_multiplies(ring, x.maps, nullptr, block.head, block.first, 0, block.walked)) return;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  const int query = block.first + dev::warp_index() * Shape::warp_rows;
  MmaTangentRows<Shape> rows;
  mma_each_row<Shape>([&](int m, int h) {
    rows.lse[m][h] = attention_row_lse(call, block.head, x.lse, query + mma_row() + 16 * m + 8 * h);
  });
  if (block.walked > 0)
    wgmma_double_walk_keys<Shape, Extras, WithDout, 2>(
        rows.ddout, ring, call, block.head, group, query, block.walked,
        [&](auto& first, auto& second, WgmmaDoubleScores<Shape>& tile, int key) {
          mma_tangent_weights<Shape, Extras>(tile.s, tile.u, tile.a, tile.b, rows, key == 0, call,
                                             block.head, query, key);
          wgmma_pack<Shape>(first, tile.u);
          wgmma_pack<Shape>(second, tile.s);
        });
  mma_finish_tangent<Shape>(rows, call, block.head, x.out, x.statistics.of(block.head),
                            x.statistics.rows, query);
  if (x.wants_to)
    wgmma_store<Shape>(rows.ddout, 1.0f, ring.own_rows(0, group), x.to, block.head,
                       block.first + group * Shape::group_rows);
}

/// dq2 is wanted.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_double_queries(const AttentionCall<float> call,
                                    METTLE_GRID_CONSTANT const WgmmaDoubleQueriesOperands x,
                                    const int tiles) {
  METTLE_SHARED(dev::MBarrier, barriers, WgmmaDoubleQueriesRing<Shape>::barriers);
  dev::SharedCarver carver;
  const WgmmaDoubleQueriesRing<Shape> ring(carver, barriers);
  const WgmmaQueryTile<Shape> block(call, tiles);
  if (!wgmma_multiplies(ring, x.maps, nullptr, block.head, block.first, 0, block.walked)) return;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  const int query = block.first + dev::warp_index() * Shape::warp_rows;
  const float factor = mma_factor<Extras>(call);
  MmaTangentStatistics rows[Shape::row_tiles][2];
  mma_load_tangent_rows<Shape>(rows, x.statistics.of(block.head), query, x.statistics.rows);
  typename Shape::Columns dq2 = {};
  if (block.walked > 0)
    wgmma_double_walk_keys<Shape, Extras, true, 0>(
        dq2, ring, call, block.head, group, query, block.walked,
        [&](auto& first, auto& second, WgmmaDoubleScores<Shape>& tile, int key) {
          if (Extras && call.drops) {
            MmaDropout<Shape, false> dropout;
            dropout.draw(call, block.head, query, key);
            dropout.apply(tile.a, call.kept);
            dropout.apply(tile.b, call.kept);
          }
          mma_differentiate_double_queries<Shape>(tile.s, tile.u, tile.a, tile.b, rows, factor,
                                                  call.scale);
          wgmma_pack<Shape>(first, tile.s);
          wgmma_pack<Shape>(second, tile.a);
        });
  wgmma_store<Shape>(dq2, call.scale, ring.own_rows(0, group), x.to, block.head,
                     block.first + group * Shape::group_rows);
}

// ---- keys ---------------------------------------------------------------------------------------
// What a warpgroup does with its 64 keys: dk2 / tau and dv2 over the queries of the block's walk.
template <class Shape, bool Extras>
METTLE_DEVICE void wgmma_double_walk_queries(typename Shape::Columns& dk2,
                                             typename Shape::Columns& dv2,
                                             const WgmmaDoubleKeysRing<Shape>& ring,
                                             const AttentionCall<float>& call,
                                             const WgmmaKeyTile<Shape>& block, int group, int key,
                                             bool wants_dk2, bool wants_dv2) {
  const WgmmaTurns<Shape> turns(group, 2 * block.walked);
  const float factor = mma_factor<Extras>(call);
  const std::uint32_t valid = mma_valid_keys(call, block.head, key);
  const int whole = call.first_viewer(key + Shape::warp_rows - 1);  // queries that see every key
  dev::mbarrier_wait(ring.own_full, 0);
  for (int t = 0; t < block.walked; ++t) {
    const int query = block.start + t * Shape::block;
    WgmmaDoubleScores<Shape> scores;
    ring.await(t);
    turns.take();
    wgmma_double_scores<Shape, true>(scores, ring, group, t);
    turns.give(2 * t);
    dev::wait_multiplies<2>(scores.s);
    mma_mask_keys<Shape, Extras>(scores.s, call, block.head, query, key, valid, query >= whole);
    dev::wait_multiplies<1>(scores.u);
    dev::wait_multiplies<0>(scores.a, scores.b);
    MmaDropout<Shape, true> dropout;
    if (Extras && call.drops) {
      dropout.draw(call, block.head, query, key);
      dropout.apply(scores.a, call.kept);
      dropout.apply(scores.b, call.kept);
    }
    mma_differentiate_double_keys<Shape>(scores.s, scores.u, scores.a, scores.b,
                                         ring.statistics_of(t), factor, call.scale);
    if (Extras && call.drops) dropout.apply(scores.u, call.kept);
    typename Shape::Weights f = {}, tangents = {}, e = {};
    wgmma_pack<Shape>(f, scores.s);
    wgmma_pack<Shape>(tangents, scores.u);
    wgmma_pack<Shape>(e, scores.a);
    turns.take();
    if (wants_dv2) {
      dev::fence_multiplies(dv2, tangents);
      wgmma_add_values<Shape>(dv2, tangents, ring.tile(2, t));
      dev::commit_multiplies();
    }
    if (wants_dk2) {
      dev::fence_multiplies(dk2, f, e);
      wgmma_add_values<Shape>(dk2, f, ring.tile(0, t));
      wgmma_add_values<Shape>(dk2, e, ring.tile(1, t));
      dev::commit_multiplies();
    }
    turns.give(2 * t + 1);
    dev::wait_multiplies<0>(dv2, tangents);
    dev::wait_multiplies<0>(dk2, f);
    dev::wait_multiplies<0>(e);
    ring.release(t);
  }
}

template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_double_keys(const AttentionCall<float> call,
                                 METTLE_GRID_CONSTANT const WgmmaDoubleKeysOperands x,
                                 const int tiles) {
  METTLE_SHARED(dev::MBarrier, barriers, WgmmaDoubleKeysRing<Shape>::barriers);
  dev::SharedCarver carver;
  WgmmaDoubleKeysRing<Shape> ring(carver, barriers);
  ring.statistics = carver.take<MmaTangentStatistics>(Shape::stages * Shape::block);
  const WgmmaKeyTile<Shape> block(call, tiles);
  if (!wgmma_multiplies(ring, x.maps, x.statistics.of(block.head), block.head, block.first,
                        block.start, block.walked))
    return;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  const int key = block.first + dev::warp_index() * Shape::warp_rows;
  const int first = block.first + group * Shape::group_rows;
  typename Shape::Columns dk2 = {}, dv2 = {};
  if (block.walked > 0)
    wgmma_double_walk_queries<Shape, Extras>(dk2, dv2, ring, call, block, group, key, x.wants_dk2,
                                             x.wants_dv2);
  if (x.wants_dk2)
    wgmma_store<Shape>(dk2, call.scale, ring.own_rows(0, group), x.dk2, block.head, first);
  if (x.wants_dv2) wgmma_store<Shape>(dv2, 1.0f, ring.own_rows(1, group), x.dv2, block.head, first);
}

}  // namespace mettle::kernels::cuda
