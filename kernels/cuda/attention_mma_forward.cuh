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
#include "kernels/cuda/attention_mma_softmax.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/attention_simt_forward.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

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

  typename Shape::Columns out = {};
  MmaSoftmax<Shape> softmax;
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
    softmax.weigh(s, mma_factor<Extras>(call));
    softmax.shrink(out);
    if (Extras && call.drops) {
      MmaDropout<Shape, false> dropout;
      dropout.draw(call, head, query, key);
      dropout.apply(s, call.kept);
    }
    mma_add_columns<Shape>(out, s, v + stage * Shape::block_size);
  }
  dev::wait_copies<0>();
  dev::sync_block();  // every warp's copies of q are in, should there be no key
  softmax.finish(out, call, head, x.lse, query);
  if (x.out.data)
    mma_store<Shape>(out, 1.0f, own, x.out, head, query, call.queries, call.value_dim);
}

}  // namespace mettle::kernels::cuda
