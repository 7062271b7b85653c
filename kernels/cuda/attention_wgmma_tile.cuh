// Tiles of the attention kernels that multiply by wgmma, in bf16 or f16 with sums in f32, and that
// TMA brings to shared memory. A warpgroup owns 64 rows of a tile of scores; a warp's part of the
// accumulators is what mma.sync calls fragments (attention_mma_tile.cuh), so masks, dropout and
// softmax are those of its kernels.
//
// A tile lies in panels as wide as the swizzle, one behind the other: 64 columns of 16 bits, or 32
// where the head dims are no multiple of 64. Copies fill with zeros what is outside of the tensor,
// below the last row as well as right of the head dims.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Head dims up to Dims; a block owns rows and walks over Block rows of the other side at a time.
/// Two warpgroups multiply, a third one copies into a ring of two stages.
template <class Type, int Dims, int Block> struct WgmmaShape {
  using T = Type;
  static constexpr int dims = Dims, block = Block, column_tiles = Block / 8;
  static constexpr int row_tiles = 1, warp_rows = 16;  // of a warp, as in MmaShape
  static constexpr int group_rows = 64, group_warps = 4;
  static constexpr int groups = 2, rows = group_rows * groups;
  static constexpr int threads = (groups + 1) * dev::warpgroup_size;
  static constexpr int stages = 2;
  static constexpr auto swizzle = Dims % 64 == 0 ? dev::Swizzle::bytes_128 : dev::Swizzle::bytes_64;
  static constexpr int width = dev::swizzle_width(swizzle);  // bytes
  static constexpr int panel = width / 2, panels = Dims / panel;
  static constexpr int group_size = group_rows * Dims, block_size = Block * Dims;
  static_assert(Dims % panel == 0 && Block % 16 == 0);

  using Scores = float[1][Block / 8][4];
  using Columns = float[1][Dims / 8][4];
  // A tile of scores as a left operand.
  using Weights = std::uint32_t[Block / 16][4];

  /// Dynamic shared memory of so many operands with own rows, so many that are walked over, and
  /// bytes more of each stage.
  static constexpr std::size_t shared_bytes(int own, int walked, std::size_t more = 0) {
    return std::size_t{2} * (own * groups * group_size + walked * stages * block_size) +
           stages * more;
  }
  /// Tile t of a walk lies in stage t % stages, for the round t / stages.
  METTLE_DEVICE static int stage(int tile) { return tile % stages; }
  METTLE_DEVICE static int parity(int tile) { return tile / stages % 2; }
};

// The two warpgroups issue their products by turns, as many for each, so that one weighs while the
// other's are under way. Barriers of both: one arrives to give the turn, the other waits to take
// it.
template <class Shape> class WgmmaTurns {
 public:
  METTLE_DEVICE WgmmaTurns(int group, int turns) : group_(group), turns_(turns) {
    static_assert(Shape::groups == 2);
    if (group == 1 && turns > 0) give_to(0);
  }
  METTLE_DEVICE void take() const {
    dev::sync_named(1 + Shape::groups + group_, Shape::groups * dev::warpgroup_size);
  }
  /// After turn `turn`. The last one of all goes to nobody.
  METTLE_DEVICE void give(int turn) const {
    if (group_ == 0 || turn + 1 < turns_) give_to(group_ ^ 1);
  }

 private:
  METTLE_DEVICE static void give_to(int group) {
    dev::arrive_named(1 + Shape::groups + group, Shape::groups * dev::warpgroup_size);
  }

  int group_, turns_;
};

/// The accumulators of a warpgroup, as wgmma wants them.
template <int Tiles> METTLE_DEVICE float (&wgmma_flat(float (&x)[1][Tiles][4]))[4 * Tiles] {
  return reinterpret_cast<float(&)[4 * Tiles]>(x);
}

/// Orders the copy of Rows rows of a head, from `first` on; one thread calls. `map` has boxes of
/// Rows rows and a panel's columns; `left` is the first column.
template <class Shape, int Rows>
METTLE_DEVICE void wgmma_load(typename Shape::T* tile, const dev::TensorMap& map,
                              const AttentionHead& head, int first, dev::MBarrier* full,
                              int left = 0) {
  METTLE_UNROLL
  for (int p = 0; p < Shape::panels; ++p)
    dev::copy_tensor(tile + p * Rows * Shape::panel, &map,
                     {left + p * Shape::panel, first, head.h, head.b}, full);
}

/// Issues scores = own walked^T of a warpgroup's 64 rows and Shape::block rows of the other side;
/// with `add` scores += that.
template <class Shape>
METTLE_DEVICE void wgmma_scores(typename Shape::Scores& scores, const typename Shape::T* own,
                                const typename Shape::T* walked, bool add = false) {
  constexpr int eight_rows = 8 * Shape::width;
  METTLE_UNROLL
  for (int p = 0; p < Shape::panels; ++p) {
    const auto left = dev::shared_matrix<Shape::swizzle>(own + p * Shape::group_rows * Shape::panel,
                                                         16, eight_rows);
    const auto right = dev::shared_matrix<Shape::swizzle>(walked + p * Shape::block * Shape::panel,
                                                          16, eight_rows);
    METTLE_UNROLL
    for (int d = 0; d < Shape::panel; d += 16)
      dev::multiply_add_async<typename Shape::T>(wgmma_flat(scores), dev::advance(left, 2 * d),
                                                 dev::advance(right, 2 * d), add || p + d > 0);
  }
}

/// Rounds a tile of weights to the operands' type.
template <class Shape>
METTLE_DEVICE void wgmma_pack(typename Shape::Weights& weights,
                              const typename Shape::Scores& scores) {
  METTLE_UNROLL
  for (int j = 0; j < Shape::block / 16; ++j) mma_pack<typename Shape::T>(weights[j], scores[0], j);
}

/// Issues out += weights walked.
template <class Shape>
METTLE_DEVICE void wgmma_add_values(typename Shape::Columns& out,
                                    const typename Shape::Weights& weights,
                                    const typename Shape::T* walked) {
  const auto right =
      dev::shared_matrix<Shape::swizzle>(walked, Shape::block * Shape::width, 8 * Shape::width);
  METTLE_UNROLL
  for (int j = 0; j < Shape::block / 16; ++j)
    dev::multiply_add_async<typename Shape::T, dev::Major::mn>(
        wgmma_flat(out), weights[j], dev::advance(right, 16 * j * Shape::width));
}

/// Rounds factor * columns of a warpgroup into its tile of 64 rows, which nobody reads any more.
template <class Shape>
METTLE_DEVICE void wgmma_stage(typename Shape::T* tile, const typename Shape::Columns& columns,
                               float factor) {
  const int row = dev::warp_index() % 4 * Shape::warp_rows + mma_row();
  METTLE_UNROLL
  for (int n = 0; n < Shape::dims / 8; ++n) METTLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int p = 8 * n / Shape::panel, c = 8 * n % Shape::panel + mma_column();
    const int at = dev::swizzled<Shape::swizzle>((row + 8 * h) * Shape::width + 2 * c);
    *reinterpret_cast<std::uint32_t*>(tile + p * Shape::group_rows * Shape::panel + at / 2) =
        dev::pack_halves<typename Shape::T>(columns[0][n][2 * h] * factor,
                                            columns[0][n][2 * h + 1] * factor);
  }
}

/// factor * columns of a warpgroup through its tile to the rows from `first` on of a head; rows
/// outside are not written.
template <class Shape>
METTLE_DEVICE void wgmma_store(const typename Shape::Columns& columns, float factor,
                               typename Shape::T* tile, const dev::TensorMap& map,
                               const AttentionHead& head, int first) {
  const int barrier = 1 + dev::thread_rank() / dev::warpgroup_size;
  dev::sync_named(barrier, dev::warpgroup_size);  // no warp multiplies with the tile
  wgmma_stage<Shape>(tile, columns, factor);
  dev::fence_async_proxy();
  dev::sync_named(barrier, dev::warpgroup_size);  // all rows are staged
  if (dev::thread_rank() % dev::warpgroup_size != 0) return;
  METTLE_UNROLL
  for (int p = 0; p < Shape::panels; ++p)
    dev::store_tensor(&map, {p * Shape::panel, first, head.h, head.b},
                      tile + p * Shape::group_rows * Shape::panel);
  dev::commit_stores();
  dev::wait_store_reads<0>();
}

}  // namespace mettle::kernels::cuda
