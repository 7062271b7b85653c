// Attention forward by wgmma and TMA, in the manner of FlashAttention-3: a block owns 128 query
// rows, 64 for each of two warpgroups, and walks over tiles of keys. One thread of a third
// warpgroup, which gives up its registers, orders the copies of k and v into two stages each;
// mbarriers say when a tile is in and when both warpgroups are done with it. q k^T of a tile is
// issued together with the product of the weights of the tile before with v, and the softmax runs
// while that second product is under way. The two warpgroups issue by turns, so that one multiplies
// while the other weighs; without the barriers for it they might do the same at the same time,
// which leaves one of the two units idle. Weights go from the accumulators of the first product to
// the left operand of the second without leaving registers.
//
// Per head: 4 Nq Nk D FLOP, Nq Nk exponentials, (2 Nq + 2 Nk) D * 2 bytes of device memory plus 4
// Nq for lse; K and V are read once per query tile from L2: 128 FLOP per byte, 700 TF/s at 5.5
// TB/s. For 64 queries and 128 keys at D = 64, in cycles of an H100's multiprocessor: products 512
// (2048 multiply-adds each), exponentials 512 (16 each), other instructions about 230 (128
// each; 3.5 per score). At D = 128 the products are 1024, the rest stays. Perfect overlap would
// leave the largest of the three, none their sum.
//
// Prediction, not measured: 400 to 470 TF/s at D = 64 and 550 to 630 at D = 128 for N >= 2048;
// N <= 128 may be slower than with the variant mma: a block has but one tile, whose copies,
// products and stores follow each other, and its registers leave a multiprocessor no second block.
//
// With an additive mask or dropout tiles have 64 keys. Registers: 168 at launch, 232 for who
// multiplies, of which scores, output and weights are 160 at D = 128; no spills.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_softmax.cuh"
#include "kernels/cuda/attention_wgmma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Maps of (D, N, H, B) in boxes of a panel and 64 rows, for k and v Shape::block rows.
struct WgmmaForwardOperands {
  dev::TensorMap q, k, v, out;
  bool wants_out;
  float* lse;  // (B, H, Nq); null: not wanted
};

// The block's shared memory.
template <class Shape> struct WgmmaForwardRing {
  typename Shape::T *q, *k, *v;
  dev::MBarrier *q_full, *k_full, *k_empty, *v_full, *v_empty;

  METTLE_DEVICE typename Shape::T* k_tile(int tile) const {
    return k + Shape::stage(tile) * Shape::block_size;
  }
  METTLE_DEVICE typename Shape::T* v_tile(int tile) const {
    return v + Shape::stage(tile) * Shape::block_size;
  }
  METTLE_DEVICE void make() const {
    dev::mbarrier_init(q_full, 1);
    for (int i = 0; i < Shape::stages; ++i) {
      dev::mbarrier_init(&k_full[i], 1);
      dev::mbarrier_init(&v_full[i], 1);
      dev::mbarrier_init(&k_empty[i], Shape::groups);
      dev::mbarrier_init(&v_empty[i], Shape::groups);
    }
    dev::fence_async_proxy();
  }
};

// One thread orders all copies, in the order in which they are needed.
template <class Shape>
METTLE_DEVICE void wgmma_forward_load(const WgmmaForwardRing<Shape>& ring,
                                      const WgmmaForwardOperands& x, const AttentionHead& head,
                                      int first, int tiles) {
  constexpr int block_bytes = 2 * Shape::block_size;
  dev::mbarrier_arrive_expect(ring.q_full, 2 * Shape::groups * Shape::group_size);
  for (int g = 0; g < Shape::groups; ++g)
    wgmma_load<Shape, Shape::group_rows>(ring.q + g * Shape::group_size, x.q, head,
                                         first + g * Shape::group_rows, ring.q_full);
  for (int t = 0; t < tiles; ++t) {
    const int stage = Shape::stage(t);
    if (t >= Shape::stages) dev::mbarrier_wait(&ring.k_empty[stage], Shape::parity(t) ^ 1);
    dev::mbarrier_arrive_expect(&ring.k_full[stage], block_bytes);
    wgmma_load<Shape, Shape::block>(ring.k_tile(t), x.k, head, t * Shape::block,
                                    &ring.k_full[stage]);
    if (t >= Shape::stages) dev::mbarrier_wait(&ring.v_empty[stage], Shape::parity(t) ^ 1);
    dev::mbarrier_arrive_expect(&ring.v_full[stage], block_bytes);
    wgmma_load<Shape, Shape::block>(ring.v_tile(t), x.v, head, t * Shape::block,
                                    &ring.v_full[stage]);
  }
}

// What a warpgroup does with its 64 queries: the sums of weights times v over all tiles.
template <class Shape, bool Extras>
METTLE_DEVICE void wgmma_forward_walk(typename Shape::Columns& out, MmaSoftmax<Shape>& softmax,
                                      const WgmmaForwardRing<Shape>& ring,
                                      const AttentionCall<float>& call, const AttentionHead& head,
                                      const typename Shape::T* q, int query, int tiles) {
  const WgmmaTurns<Shape> turns(dev::thread_rank() / dev::warpgroup_size, tiles);
  const bool tells = dev::thread_rank() % dev::warpgroup_size == 0;
  const int whole = call.visible(query);  // keys that every row of the warp sees
  typename Shape::Scores s = {};
  typename Shape::Weights weights = {};
  const auto weigh = [&](int t) {
    const int key = t * Shape::block;
    mma_mask_queries<Shape, Extras>(s, call, head, query, key, key + Shape::block <= whole);
    softmax.weigh(s, mma_factor<Extras>(call));
    if constexpr (Extras) {
      if (!call.drops) return;
      MmaDropout<Shape, false> dropout;
      dropout.draw(call, head, query, key);
      dropout.apply(s, call.kept);
    }
  };

  dev::mbarrier_wait(&ring.k_full[0], 0);
  turns.take();
  dev::fence_multiplies(s);
  wgmma_scores<Shape>(s, q, ring.k_tile(0));
  dev::commit_multiplies();
  turns.give(0);
  dev::wait_multiplies<0>(s);
  if (tells) dev::mbarrier_arrive(&ring.k_empty[0]);
  weigh(0);
  wgmma_pack<Shape>(weights, s);
  for (int t = 1; t < tiles; ++t) {
    dev::mbarrier_wait(&ring.k_full[Shape::stage(t)], Shape::parity(t));
    turns.take();
    dev::fence_multiplies(s);
    wgmma_scores<Shape>(s, q, ring.k_tile(t));
    dev::commit_multiplies();
    dev::mbarrier_wait(&ring.v_full[Shape::stage(t - 1)], Shape::parity(t - 1));
    dev::fence_multiplies(out, weights);
    wgmma_add_values<Shape>(out, weights, ring.v_tile(t - 1));
    dev::commit_multiplies();
    turns.give(t);
    dev::wait_multiplies<1>(s);
    if (tells) dev::mbarrier_arrive(&ring.k_empty[Shape::stage(t)]);
    weigh(t);  // while the product with v is under way
    dev::wait_multiplies<0>(out, weights);
    if (tells) dev::mbarrier_arrive(&ring.v_empty[Shape::stage(t - 1)]);
    softmax.shrink(out);
    wgmma_pack<Shape>(weights, s);
  }
  dev::mbarrier_wait(&ring.v_full[Shape::stage(tiles - 1)], Shape::parity(tiles - 1));
  dev::fence_multiplies(out, weights);
  wgmma_add_values<Shape>(out, weights, ring.v_tile(tiles - 1));
  dev::commit_multiplies();
  dev::wait_multiplies<0>(out, weights);
}

/// Grid: query tiles x heads, tiles fastest and, with a causal mask, the longest first.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads, 1)
void attention_wgmma_forward(const AttentionCall<float> call,
                             METTLE_GRID_CONSTANT const WgmmaForwardOperands x, const int tiles) {
  using T = typename Shape::T;
  METTLE_SHARED(dev::MBarrier, barriers, 1 + 4 * Shape::stages);
  dev::SharedCarver carver;
  T* const q = carver.take<T, 1024>(Shape::groups * Shape::group_size);
  T* const k = carver.take<T, 1024>(Shape::stages * Shape::block_size);
  T* const v = carver.take<T, 1024>(Shape::stages * Shape::block_size);
  dev::MBarrier* const of_stages = barriers + 1;
  const WgmmaForwardRing<Shape> ring = {q,
                                        k,
                                        v,
                                        barriers,
                                        of_stages,
                                        of_stages + Shape::stages,
                                        of_stages + 2 * Shape::stages,
                                        of_stages + 3 * Shape::stages};
  constexpr int loader = Shape::groups * dev::warpgroup_size;
  if (dev::thread_rank() == 0) ring.make();
  if (dev::thread_rank() == loader) {
    dev::prefetch_tensor_map(&x.q);
    dev::prefetch_tensor_map(&x.k);
    dev::prefetch_tensor_map(&x.v);
  }
  dev::sync_block();

  const AttentionHead head = attention_head(dev::block_index().x / tiles, call.heads);
  const int tile = dev::block_index().x % tiles;
  const int first = (call.causal ? tiles - 1 - tile : tile) * Shape::rows;
  const int seen = call.visible(dev::minimum(first + Shape::rows, call.queries) - 1);
  const int walked = (dev::maximum(seen, 0) + Shape::block - 1) / Shape::block;
  const int group = dev::thread_rank() / dev::warpgroup_size;
  if (group == Shape::groups) {
    dev::lower_registers<40>();
    if (dev::thread_rank() == loader) wgmma_forward_load(ring, x, head, first, walked);
    return;
  }
  dev::raise_registers<232>();
  T* const own = q + group * Shape::group_size;
  const int query = first + dev::warp_index() * Shape::warp_rows;
  typename Shape::Columns out = {};
  MmaSoftmax<Shape> softmax;
  dev::mbarrier_wait(ring.q_full, 0);
  if (walked > 0)
    wgmma_forward_walk<Shape, Extras>(out, softmax, ring, call, head, own, query, walked);
  softmax.finish(out, call, head, x.lse, query);
  if (x.wants_out)
    wgmma_store<Shape>(out, 1.0f, own, x.out, head, first + group * Shape::group_rows);
}

}  // namespace mettle::kernels::cuda
