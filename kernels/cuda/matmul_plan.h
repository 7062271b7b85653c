// How a matrix product is cut into blocks: the size of a tile and the number of parts of k. Host
// side; it depends on the shape alone, so the bits of a result do not depend on the GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace mettle::kernels::cuda {

struct TileShape {
  int m, n, k;
  double efficiency;  // of its inner loop, by the largest tile's
};

struct MatmulPlan {
  int tile;  // number in the list of shapes
  std::int64_t splits, k_per_split;
};

/// Of `products` products of (m, k) and (k, n). Time is counted in FMAs of one of 132
/// multiprocessors, 5 ps each: a round of blocks takes the padded work of one of them, and
/// splitting k costs a second launch and the traffic of the partial sums. `speed` is the FMAs'
/// relative rate.
inline MatmulPlan plan_matmul(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t products,
                              std::span<const TileShape> tiles, double speed = 1) {
  constexpr std::int64_t multiprocessors = 132;
  constexpr double launch = 4e5, sum_of_partial = 0.5, start_of_block = 64;
  constexpr std::int64_t split_choices[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  const auto cuts = [](std::int64_t x, std::int64_t by) { return (x + by - 1) / by; };
  MatmulPlan best{};
  double best_time = 0;
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const TileShape& tile = tiles[t];
    const std::int64_t steps = std::max<std::int64_t>(1, cuts(k, tile.k));
    const std::int64_t blocks = cuts(m, tile.m) * cuts(n, tile.n) * products;
    for (const std::int64_t splits : split_choices) {
      const std::int64_t steps_per_split = cuts(steps, splits);
      if (splits > 1 && steps_per_split * tile.k < 128) break;
      if (cuts(steps, steps_per_split) != splits) continue;
      const double depth = static_cast<double>(steps_per_split * tile.k) + start_of_block;
      const double block = static_cast<double>(tile.m * tile.n) * depth / tile.efficiency / speed;
      double time = static_cast<double>(cuts(blocks * splits, multiprocessors)) * block;
      if (splits > 1)
        time += launch + sum_of_partial * static_cast<double>(m * n) *
                             static_cast<double>(products * splits);
      if (best_time == 0 || time < best_time) {
        best_time = time;
        best = {static_cast<int>(t), splits, steps_per_split * tile.k};
      }
    }
  }
  return best;
}

}  // namespace mettle::kernels::cuda
