// Blocks that have a strip of columns over some rows of one group: each thread keeps one pack of
// columns, so what belongs to columns (weights, sums down them) stays in registers.
#pragma once

#include <cstdint>

#include "kernels/cuda/row_tile.cuh"

namespace mettle::kernels::cuda {

/// `lanes` threads side by side, a power of two up to 32, and as many below each other as fill a
/// block. Strips of a group run fastest in the grid.
struct ColumnGrid {
  static constexpr int threads = 256;

  GroupRows rows;  // blocks_per_group: for each strip
  std::int64_t columns;
  int lanes;
  int strips;
};

/// Where a thread of such a block is.
template <int width> struct ColumnPlace {
  int group, slot;      // slot: which of the strip's blocks
  std::int64_t column;  // of its pack
  bool inside;          // whether the pack is
  std::int64_t row, end, step;

  METTLE_DEVICE explicit ColumnPlace(const ColumnGrid& grid) {
    const int block = dev::block_index().x / grid.strips,
              strip = dev::block_index().x % grid.strips;
    const int down = dev::thread_rank() / grid.lanes, across = dev::thread_rank() % grid.lanes;
    const int rows = ColumnGrid::threads / grid.lanes;
    group = block / grid.rows.blocks_per_group;
    slot = block % grid.rows.blocks_per_group;
    column = (std::int64_t{strip} * grid.lanes + across) * width;
    inside = column < grid.columns;
    row = group * grid.rows.rows_per_group + std::int64_t{slot} * rows + down;
    end = (group + 1) * grid.rows.rows_per_group;
    step = std::int64_t{grid.rows.blocks_per_group} * rows;
    if (!inside) row = end;
  }
};

/// A pack from `place` on; zeros where `from` is null.
template <int width, class T>
METTLE_DEVICE void load_or_zeros(const T* from, std::int64_t place, accumulate_t<T> (&to)[width]) {
  if (from) {
    load_pack(from + place, to);
  } else {
    METTLE_UNROLL
    for (int i = 0; i < width; ++i) to[i] = 0;
  }
}

/// The sums over the block's rows, thread by thread below each other, to where they go. `shared`
/// holds threads * width values.
template <int width, class T, class A = accumulate_t<T>>
METTLE_DEVICE void finish_columns(const ColumnGrid& grid, const ColumnPlace<width>& at,
                                  const A (&sums)[width], const ColumnSumsTo<T, 1>& to, A* shared) {
  const int pitch = grid.lanes * width, rank = dev::thread_rank();
  METTLE_UNROLL
  for (int i = 0; i < width; ++i)
    shared[rank / grid.lanes * pitch + rank % grid.lanes * width + i] = sums[i];
  dev::sync_block();
  for (int x = rank; x < pitch; x += ColumnGrid::threads) {
    const std::int64_t column = std::int64_t{dev::block_index().x % grid.strips} * pitch + x;
    if (column >= grid.columns) continue;
    A total = shared[x];
    for (int down = 1; down < ColumnGrid::threads / grid.lanes; ++down)
      total += shared[down * pitch + x];
    const std::int64_t block = std::int64_t{at.group} * grid.rows.blocks_per_group + at.slot;
    if (to.partial)
      to.partial[block * grid.columns + column] = total;
    else
      store_one(to.out[0] + at.group * grid.columns + column, total);
  }
}

}  // namespace mettle::kernels::cuda
