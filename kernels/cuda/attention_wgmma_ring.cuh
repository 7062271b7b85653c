// The copies of the backward kernels that multiply by wgmma: operands whose rows a block owns, and
// operands that it walks over, the tiles of all of them together in a ring of stages, with the
// statistics of query rows where those are walked. Two warpgroups multiply, a third one copies.
#pragma once

#include <type_traits>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_wgmma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Maps of (D, N, H, B) in boxes of a panel and 64 rows for own operands, Shape::block rows for
/// walked ones, and the columns that copies of them begin at: beyond the last for an absent one,
/// which reads as zeros.
template <int Own, int Walked> struct WgmmaMaps {
  dev::TensorMap own[Own], walked[Walked];
  int own_left[Own], walked_left[Walked];
};

/// Statistics of query rows, (B, H, rows): padded to whole tiles of every head, so that a tile of
/// them is a bulk copy. One kernel writes them, others read them.
template <class Statistics> struct WgmmaStatistics {
  Statistics* data;  // null: there are none
  int rows;

  METTLE_DEVICE Statistics* of(const AttentionHead& head) const {
    return data ? data + head.index * rows : nullptr;
  }
};

/// The block's shared memory.
template <class Shape, int Own, int Walked, class Statistics> struct WgmmaRing {
  using T = typename Shape::T;
  static constexpr int barriers = 1 + 2 * Shape::stages;

  T *own[Own], *walked[Walked];
  Statistics* statistics;  // null: the walk needs none
  dev::MBarrier *own_full, *full, *empty;

  METTLE_DEVICE WgmmaRing(dev::SharedCarver& carver, dev::MBarrier* barrier)
      : statistics(nullptr),
        own_full(barrier),
        full(barrier + 1),
        empty(barrier + 1 + Shape::stages) {
    for (T*& tile : own) tile = carver.take<T, 1024>(Shape::groups * Shape::group_size);
    for (T*& tiles : walked) tiles = carver.take<T, 1024>(Shape::stages * Shape::block_size);
  }
  METTLE_DEVICE void make() const {
    dev::mbarrier_init(own_full, 1);
    for (int i = 0; i < Shape::stages; ++i) {
      dev::mbarrier_init(&full[i], 1);
      dev::mbarrier_init(&empty[i], Shape::groups * Shape::group_warps);
    }
    dev::fence_async_proxy();
  }
  /// Rows of a warpgroup, and what tile t of the walk brought.
  METTLE_DEVICE T* own_rows(int which, int group) const {
    return own[which] + group * Shape::group_size;
  }
  METTLE_DEVICE T* tile(int which, int t) const {
    return walked[which] + Shape::stage(t) * Shape::block_size;
  }
  METTLE_DEVICE Statistics* statistics_of(int t) const {
    return statistics + Shape::stage(t) * Shape::block;
  }
  METTLE_DEVICE void await(int t) const {
    dev::mbarrier_wait(&full[Shape::stage(t)], Shape::parity(t));
  }
  /// Every warp says that it is done with a tile: unlike multiplies, reads of statistics are its
  /// own.
  METTLE_DEVICE void release(int t) const {
    dev::sync_warp();
    if (dev::lane_index() == 0) dev::mbarrier_arrive(&empty[Shape::stage(t)]);
  }
};

// One thread orders all copies of a block whose rows begin at `first` and whose walk at `start`.
// `statistics` are those of the head, when the ring has room for them.
template <class Shape, int Own, int Walked, class Statistics>
METTLE_DEVICE void wgmma_load_all(const WgmmaRing<Shape, Own, Walked, Statistics>& ring,
                                  const WgmmaMaps<Own, Walked>& x,
                                  const std::type_identity_t<Statistics>* statistics,
                                  const AttentionHead& head, int first, int start, int tiles) {
  if (tiles == 0) return;
  constexpr int own_bytes = 2 * Own * Shape::groups * Shape::group_size;
  constexpr int statistics_bytes = Shape::block * static_cast<int>(sizeof(Statistics));
  const int bytes = 2 * Walked * Shape::block_size + (ring.statistics ? statistics_bytes : 0);
  dev::mbarrier_arrive_expect(ring.own_full, own_bytes);
  for (int i = 0; i < Own; ++i)
    for (int g = 0; g < Shape::groups; ++g)
      wgmma_load<Shape, Shape::group_rows>(ring.own_rows(i, g), x.own[i], head,
                                           first + g * Shape::group_rows, ring.own_full,
                                           x.own_left[i]);
  for (int t = 0; t < tiles; ++t) {
    const int stage = Shape::stage(t), row = start + t * Shape::block;
    if (t >= Shape::stages) dev::mbarrier_wait(&ring.empty[stage], Shape::parity(t) ^ 1);
    dev::MBarrier* const full = &ring.full[stage];
    dev::mbarrier_arrive_expect(full, bytes);
    for (int i = 0; i < Walked; ++i)
      wgmma_load<Shape, Shape::block>(ring.tile(i, t), x.walked[i], head, row, full,
                                      x.walked_left[i]);
    if (ring.statistics)
      dev::copy_bulk(ring.statistics_of(t), statistics + row, statistics_bytes, full);
  }
}

/// Splits a block whose rows begin at `first` and whose walk, of so many tiles, at `start`. True
/// for the warpgroups that multiply, who get the registers of the third; that one does all copies
/// and is done. `statistics` as above.
template <class Shape, int Own, int Walked, class Statistics>
METTLE_DEVICE bool wgmma_multiplies(const WgmmaRing<Shape, Own, Walked, Statistics>& ring,
                                    const WgmmaMaps<Own, Walked>& x,
                                    const std::type_identity_t<Statistics>* statistics,
                                    const AttentionHead& head, int first, int start, int tiles) {
  if (dev::thread_rank() == 0) ring.make();
  dev::sync_block();
  if (dev::thread_rank() / dev::warpgroup_size < Shape::groups) {
    dev::raise_registers<232>();
    return true;
  }
  dev::lower_registers<40>();
  if (dev::thread_rank() % dev::warpgroup_size == 0)
    wgmma_load_all(ring, x, statistics, head, first, start, tiles);
  return false;
}

/// Where a block that owns query rows stands. Grid: query tiles x heads, tiles fastest and, with a
/// causal mask, the longest first.
template <class Shape> struct WgmmaQueryTile {
  AttentionHead head;
  int first;   // row
  int walked;  // tiles of keys that some row sees

  METTLE_DEVICE WgmmaQueryTile(const AttentionCall<float>& call, int tiles)
      : head(attention_head(dev::block_index().x / tiles, call.heads)) {
    const int tile = dev::block_index().x % tiles;
    first = (call.causal ? tiles - 1 - tile : tile) * Shape::rows;
    const int last = dev::minimum(first + Shape::rows, call.queries) - 1;
    walked = (dev::maximum(call.visible(last), 0) + Shape::block - 1) / Shape::block;
  }
};

/// Where a block that owns keys stands. Grid: key tiles x heads, tiles fastest.
template <class Shape> struct WgmmaKeyTile {
  AttentionHead head;
  int first;   // key
  int start;   // query that the walk begins at
  int walked;  // tiles of queries from there on

  METTLE_DEVICE WgmmaKeyTile(const AttentionCall<float>& call, int tiles)
      : head(attention_head(dev::block_index().x / tiles, call.heads)) {
    first = dev::block_index().x % tiles * Shape::rows;
    start = dev::maximum(call.first_viewer(first), 0) / Shape::block * Shape::block;
    walked = (dev::maximum(call.queries - start, 0) + Shape::block - 1) / Shape::block;
  }
};

}  // namespace mettle::kernels::cuda
