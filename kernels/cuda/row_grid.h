// Grids of kernels whose blocks have the rows of one group each, and the tile that suits a row.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/partial_rows.cuh"
#include "kernels/cuda/row_tile.cuh"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {

/// Groups that a grid can have.
inline constexpr std::int64_t most_groups = std::int64_t{1} << 30;
inline constexpr const char* most_groups_in_words = "at most 2^30 groups of rows";

/// `resident`: blocks that a multiprocessor has at a time, together at most so many.
template <class Tile>
GroupRows group_rows(const Stream& stream, std::int64_t rows, std::int64_t groups, int resident) {
  const std::int64_t rows_per_group = rows / groups;
  const std::int64_t blocks = std::int64_t{device_limits(stream).multiprocessors} * resident;
  const std::int64_t needed = (rows_per_group + Tile::rows - 1) / Tile::rows;
  const std::int64_t granted = std::max<std::int64_t>(blocks / groups, 1);
  return {rows_per_group, static_cast<int>(std::min(needed, granted))};
}

template <class Tile> dev::LaunchShape row_grid(const GroupRows& rows, std::int64_t groups) {
  return {{static_cast<int>(rows.blocks_per_group * groups)}, {Tile::block}};
}

/// Whether rows of `columns` elements can move by 16 bytes; null pointers can.
template <class T>
bool rows_fit_packs(std::int64_t columns, std::initializer_list<const void*> operands) {
  return std::all_of(operands.begin(), operands.end(),
                     [&](const void* data) { return packs_fit<T>(data, columns); });
}

/// Sums down columns over the rows of each group: working memory and the second stage. A group
/// that one block has needs neither where `straight`: the tile writes the outputs itself.
template <class T, int count> class StagedSums {
  using A = accumulate_t<T>;

 public:
  StagedSums(const Stream& stream, const GroupRows& rows, std::int64_t groups, std::int64_t columns,
             bool straight, const std::array<void*, count>& out)
      : stream_(stream),
        groups_(groups),
        columns_(columns),
        blocks_(rows.blocks_per_group),
        staged_(!(straight && blocks_ == 1) &&
                std::any_of(out.begin(), out.end(), [](void* p) { return p != nullptr; })),
        values_(staged_ ? static_cast<std::size_t>(blocks_ * groups * columns) * count : 0),
        scratch_(stream, values_ * sizeof(A)) {
    to_.partial = staged_ ? scratch_.template take<A>(values_) : nullptr;
    for (int k = 0; k < count; ++k) to_.out[k] = static_cast<T*>(out[static_cast<std::size_t>(k)]);
  }

  /// For the kernel.
  const ColumnSumsTo<T, count>& to() const { return to_; }
  /// After the kernel.
  void finish() const {
    if (!staged_ || groups_ * columns_ == 0) return;
    using Tile = PartialRowsTile;
    const std::int64_t tiles = (columns_ + Tile::columns - 1) / Tile::columns * groups_ * count;
    const int grid = static_cast<int>(std::min<std::int64_t>(tiles, 1 << 16));
    dev::launch(add_partial_rows<T, count>, {{grid}, {Tile::columns, Tile::lanes}}, stream_, to_,
                groups_, blocks_, columns_);
  }

 private:
  Stream stream_;
  std::int64_t groups_, columns_, blocks_;
  bool staged_;
  std::size_t values_;
  Scratch scratch_;
  ColumnSumsTo<T, count> to_ = {};
};

}  // namespace mettle::kernels::cuda
