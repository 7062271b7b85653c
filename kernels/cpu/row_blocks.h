// How the rows of a [rows, columns] problem are cut into blocks for the threads. Blocks depend on
// the problem only, never on the number of threads, so that sums over rows have the same bits on
// any machine size.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mettle::kernels::cpu {

/// Elements of work worth a visit to the thread pool.
inline constexpr std::int64_t elements_per_task = 16384;

/// Blocks of consecutive rows, none of which crosses the border of a group.
class RowBlocks {
 public:
  struct Block {
    std::int64_t group, begin, end;  // rows [begin, end)
  };

  RowBlocks(std::int64_t rows, std::int64_t columns, std::int64_t groups)
      : rows_per_group_(rows / groups) {
    const std::int64_t width = std::max<std::int64_t>(columns, 1);
    // At most 64 blocks a group, so that partial sums stay small against the data.
    const std::int64_t least = std::max(elements_per_task / width, (rows_per_group_ + 63) / 64);
    rows_per_block_ =
        std::clamp<std::int64_t>(least, 1, std::max<std::int64_t>(rows_per_group_, 1));
    per_group_ = (rows_per_group_ + rows_per_block_ - 1) / rows_per_block_;
    count_ = per_group_ * groups;
    grain_ = std::max<std::int64_t>(1, elements_per_task / (rows_per_block_ * width));
  }

  std::int64_t count() const { return count_; }
  std::int64_t per_group() const { return per_group_; }
  /// Blocks per task of parallel_for.
  std::int64_t grain() const { return grain_; }

  Block operator[](std::int64_t i) const {
    const std::int64_t group = i / per_group_, first = (i % per_group_) * rows_per_block_;
    const std::int64_t base = group * rows_per_group_;
    return {group, base + first, base + std::min(first + rows_per_block_, rows_per_group_)};
  }

 private:
  std::int64_t rows_per_group_, rows_per_block_, per_group_, count_, grain_;
};

}  // namespace mettle::kernels::cpu
