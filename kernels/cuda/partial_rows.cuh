// Second stage of sums down columns: adds the partial sums that the blocks of a group left, in a
// fixed order. A few megabytes, most of them in L2.
#pragma once

#include <cstdint>

#include "kernels/cuda/packs.cuh"
#include "kernels/cuda/row_tile.cuh"

namespace mettle::kernels::cuda {

struct PartialRowsTile {
  static constexpr int columns = 32, lanes = 16;  // rows that a block reads at a time
};

/// out[k][g, j] = sum over b of partial[g, b, k, j]: lane l of a column adds rows l, l + 16, ...,
/// then the first adds the lanes.
template <class T, int count>
requires(count <= 2) METTLE_GLOBAL(PartialRowsTile::columns* PartialRowsTile::lanes)
void add_partial_rows(const ColumnSumsTo<T, count> sums, std::int64_t groups,
                      std::int64_t blocks_per_group, std::int64_t columns) {
  using A = accumulate_t<T>;
  using Tile = PartialRowsTile;
  METTLE_SHARED(A, lanes, Tile::lanes * Tile::columns);
  const int x = dev::thread_index().x, lane = dev::thread_index().y;
  const std::int64_t tiles = (columns + Tile::columns - 1) / Tile::columns;
  for (std::int64_t item = dev::block_index().x; item < tiles * groups * count;
       item += dev::grid_size().x) {
    const std::int64_t column = item % tiles * Tile::columns + x, group = item / tiles / count;
    const int k = static_cast<int>(item / tiles % count);
    A sum = 0;
    if (column < columns)
      for (std::int64_t b = lane; b < blocks_per_group; b += Tile::lanes)
        sum += sums.partial[((group * blocks_per_group + b) * count + k) * columns + column];
    lanes[lane * Tile::columns + x] = sum;
    dev::sync_block();
    T* out = k == 0 ? sums.out[0] : sums.out[count - 1];
    if (lane == 0 && column < columns && out) {
      for (int other = 1; other < Tile::lanes; ++other) sum += lanes[other * Tile::columns + x];
      store_one(out + group * columns + column, sum);
    }
    dev::sync_block();
  }
}

}  // namespace mettle::kernels::cuda
