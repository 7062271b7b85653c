// Attention backward by wgmma and TMA: the two kernels of attention_mma_backward.cuh,
//   queries: a block owns query rows and walks over the keys    D = rowsum(P o A), dq = tau E k
//   keys:    a block owns keys and walks over the query rows    dk = tau E^T q, dv = (Z o P)^T dout
// without atomics. A block owns 128 rows, 64 for each of two warpgroups, of a pair of operands (q
// and dout, or k and v) and walks over tiles of the other pair, which one thread of a third
// warpgroup copies into two stages; mbarriers say when a pair of tiles is in and when every warp is
// done with it. Own rows times a tile give S and A, with keys as rows their transposes; the weights
// made of S while A is under way, and their gradients, are left operands of the products that add
// up, as they lie in registers. The warpgroups issue by turns, two for each tile, so that one makes
// weights while the other multiplies.
//
// Statistics of rows beyond the last are those of rows without a key.
//
// Per head: 7 products of 2 Nq Nk D FLOP, 2 Nq Nk exponentials, as mma. For 64 own and 128 walked
// rows at D = 64, in cycles of an H100's multiprocessor: queries have products 768 (2048
// multiply-adds each), exponentials 512 (16 each), other instructions about 350 (128 each; 5.5 per
// score); keys have products 1024 and the same rest. At D = 128 products are twice as many. So
// products set the pace where the other warpgroup's hide the rest. Scores of 64 walked rows read
// 128 bytes of shared memory per cycle, all that there is; of 128 rows 96; the products that add
// up 64.
//
// Prediction, not measured: 5 products of FLOP (the usual count; 7 are made) at 330 to 400 TF/s for
// D = 64, 370 to 450 for D = 128, N >= 2048. N <= 128 may be slower than with the variant mma, for
// the reasons of the forward.
//
// Walked tiles have 128 rows where sums and scores then fit 192 of the 232 registers of who
// multiplies; 64 for keys beyond D = 64 and with an additive mask or dropout, 32 with both at D =
// 128. No spills.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_gradient.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_wgmma_ring.cuh"
#include "kernels/cuda/attention_wgmma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

struct WgmmaQueriesOperands {
  WgmmaMaps<2, 2> maps;  // q, dout and k, v
  dev::TensorMap dq;     // boxes of 64 rows
  bool wants_dq;
  AttentionIn out, dout;
  const float* lse;
  WgmmaStatistics<MmaRowStatistics> statistics;
};

struct WgmmaKeysOperands {
  WgmmaMaps<2, 2> maps;   // k, v and q, dout
  dev::TensorMap dk, dv;  // boxes of 64 rows
  bool wants_dk, wants_dv;
  WgmmaStatistics<MmaRowStatistics> statistics;
};

// Two operands with own rows and two walked ones.
template <class Shape> using WgmmaBackwardRing = WgmmaRing<Shape, 2, 2, MmaRowStatistics>;

// Issues s and a of tile t, a group each.
template <class Shape>
METTLE_DEVICE void wgmma_two_scores(typename Shape::Scores& s, typename Shape::Scores& a,
                                    const WgmmaBackwardRing<Shape>& ring, int group, int t) {
  dev::fence_multiplies(s, a);
  wgmma_scores<Shape>(s, ring.own_rows(0, group), ring.tile(0, t));
  dev::commit_multiplies();
  wgmma_scores<Shape>(a, ring.own_rows(1, group), ring.tile(1, t));
  dev::commit_multiplies();
}

// ---- queries ------------------------------------------------------------------------------------
// What a warpgroup does with its 64 queries: dq / tau and the exact D.
template <class Shape, bool Extras>
METTLE_DEVICE void wgmma_walk_keys(typename Shape::Columns& dq, MmaQueryRows<Shape>& rows,
                                   const WgmmaBackwardRing<Shape>& ring,
                                   const AttentionCall<float>& call, const AttentionHead& head,
                                   int group, int query, int tiles) {
  const WgmmaTurns<Shape> turns(group, 2 * tiles);
  const float factor = mma_factor<Extras>(call);
  const int whole = call.visible(query);  // keys that every row of the warp sees
  dev::mbarrier_wait(ring.own_full, 0);
  for (int t = 0; t < tiles; ++t) {
    const int key = t * Shape::block;
    // New ones for every tile, so that no register keeps the old scores until they are fenced.
    typename Shape::Scores s = {}, a = {};
    ring.await(t);
    turns.take();
    wgmma_two_scores(s, a, ring, group, t);
    turns.give(2 * t);
    dev::wait_multiplies<1>(s);
    mma_mask_queries<Shape, Extras>(s, call, head, query, key, key + Shape::block <= whole);
    rows.weigh(s, factor);
    dev::wait_multiplies<0>(a);
    if constexpr (Extras) {
      if (call.drops) {
        MmaDropout<Shape, false> dropout;
        dropout.draw(call, head, query, key);
        dropout.apply(a, call.kept);
      }
    }
    rows.differentiate(s, a);
    typename Shape::Weights gradients = {};
    wgmma_pack<Shape>(gradients, s);
    turns.take();
    dev::fence_multiplies(dq, gradients);
    wgmma_add_values<Shape>(dq, gradients, ring.tile(0, t));
    dev::commit_multiplies();
    turns.give(2 * t + 1);
    dev::wait_multiplies<0>(dq, gradients);
    ring.release(t);
  }
}

template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_backward_queries(const AttentionCall<float> call,
                                      METTLE_GRID_CONSTANT const WgmmaQueriesOperands x,
                                      const int tiles) {
  METTLE_SHARED(dev::MBarrier, barriers, WgmmaBackwardRing<Shape>::barriers);
  dev::SharedCarver carver;
  const WgmmaBackwardRing<Shape> ring(carver, barriers);
  const WgmmaQueryTile<Shape> block(call, tiles);
  const int walked = x.wants_dq ? block.walked : 0;
  if (!wgmma_multiplies(ring, x.maps, nullptr, block.head, block.first, 0, walked)) return;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  const int query = block.first + dev::warp_index() * Shape::warp_rows;
  MmaQueryRows<Shape> rows;
  rows.load(call, block.head, x.out, x.dout, x.lse, query);
  typename Shape::Columns dq = {};
  if (walked > 0)
    wgmma_walk_keys<Shape, Extras>(dq, rows, ring, call, block.head, group, query, walked);
  rows.store(x.statistics.of(block.head), query, x.statistics.rows, x.wants_dq);
  if (x.wants_dq)
    wgmma_store<Shape>(dq, call.scale, ring.own_rows(0, group), x.dq, block.head,
                       block.first + group * Shape::group_rows);
}

// ---- keys ---------------------------------------------------------------------------------------
// (dout v^T)^T, P^T -> E^T, (Z o P)^T.
template <class Shape, bool Extras>
METTLE_DEVICE void wgmma_differentiate_keys(typename Shape::Scores& a, typename Shape::Scores& p,
                                            const MmaRowStatistics* statistics,
                                            const AttentionCall<float>& call,
                                            const AttentionHead& head, int query, int key) {
  if constexpr (Extras) {
    if (call.drops) {
      MmaDropout<Shape, true> dropout;
      dropout.draw(call, head, query, key);
      dropout.apply(a, call.kept);
      mma_differentiate_keys<Shape>(a, p, statistics);
      dropout.apply(p, call.kept);
      return;
    }
  }
  mma_differentiate_keys<Shape>(a, p, statistics);
}

// What a warpgroup does with its 64 keys: dk / tau and dv over the queries from `start` on.
template <class Shape, bool Extras>
METTLE_DEVICE void wgmma_walk_queries(typename Shape::Columns& dk, typename Shape::Columns& dv,
                                      const WgmmaBackwardRing<Shape>& ring,
                                      const AttentionCall<float>& call, const AttentionHead& head,
                                      int group, int key, int start, int tiles, bool wants_dk,
                                      bool wants_dv) {
  const WgmmaTurns<Shape> turns(group, 2 * tiles);
  const float factor = mma_factor<Extras>(call);
  const std::uint32_t valid = mma_valid_keys(call, head, key);
  const int whole = call.first_viewer(key + Shape::warp_rows - 1);  // queries that see every key
  dev::mbarrier_wait(ring.own_full, 0);
  for (int t = 0; t < tiles; ++t) {
    const int query = start + t * Shape::block;
    const MmaRowStatistics* const statistics = ring.statistics_of(t);
    typename Shape::Scores s = {}, a = {};  // new ones for every tile, as above
    ring.await(t);
    turns.take();
    wgmma_two_scores(s, a, ring, group, t);
    turns.give(2 * t);
    dev::wait_multiplies<1>(s);
    mma_mask_keys<Shape, Extras>(s, call, head, query, key, valid, query >= whole);
    mma_weigh_keys<Shape>(s, statistics, factor);
    dev::wait_multiplies<0>(a);
    wgmma_differentiate_keys<Shape, Extras>(a, s, statistics, call, head, query, key);
    typename Shape::Weights weights = {}, gradients = {};
    wgmma_pack<Shape>(weights, s);
    wgmma_pack<Shape>(gradients, a);
    turns.take();
    if (wants_dv) {
      dev::fence_multiplies(dv, weights);
      wgmma_add_values<Shape>(dv, weights, ring.tile(1, t));
      dev::commit_multiplies();
    }
    if (wants_dk) {
      dev::fence_multiplies(dk, gradients);
      wgmma_add_values<Shape>(dk, gradients, ring.tile(0, t));
      dev::commit_multiplies();
    }
    turns.give(2 * t + 1);
    dev::wait_multiplies<0>(dv, weights);
    dev::wait_multiplies<0>(dk, gradients);
    ring.release(t);
  }
}

template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_backward_keys(const AttentionCall<float> call,
                                   METTLE_GRID_CONSTANT const WgmmaKeysOperands x,
                                   const int tiles) {
  METTLE_SHARED(dev::MBarrier, barriers, WgmmaBackwardRing<Shape>::barriers);
  dev::SharedCarver carver;
  WgmmaBackwardRing<Shape> ring(carver, barriers);
  ring.statistics = carver.take<MmaRowStatistics>(Shape::stages * Shape::block);
  const WgmmaKeyTile<Shape> block(call, tiles);
  if (!wgmma_multiplies(ring, x.maps, x.statistics.of(block.head), block.head, block.first,
                        block.start, block.walked))
    return;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  const int key = block.first + dev::warp_index() * Shape::warp_rows;
  const int first = block.first + group * Shape::group_rows;
  typename Shape::Columns dk = {}, dv = {};
  if (block.walked > 0)
    wgmma_walk_queries<Shape, Extras>(dk, dv, ring, call, block.head, group, key, block.start,
                                      block.walked, x.wants_dk, x.wants_dv);
  if (x.wants_dk)
    wgmma_store<Shape>(dk, call.scale, ring.own_rows(0, group), x.dk, block.head, first);
  if (x.wants_dv) wgmma_store<Shape>(dv, 1.0f, ring.own_rows(1, group), x.dv, block.head, first);
}

}  // namespace mettle::kernels::cuda
