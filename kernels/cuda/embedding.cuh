// The list of rows that an embedding's gradient touches: each run of equal sorted ids gets the
// number of the run. Two passes over the ids in tiles; small beside the sums of the runs
// (indexing.cuh).
#pragma once

#include "kernels/cuda/block_scan.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

inline constexpr int run_threads = 256;

/// Sorted ids; those from `size` on are none.
struct SortedIds {
  const std::uint64_t* keys;
  std::int64_t n;
  std::uint64_t size;

  METTLE_DEVICE bool starts_run(std::int64_t i) const {
    return i < n && keys[i] < size && (i == 0 || keys[i - 1] != keys[i]);
  }
};

METTLE_GLOBAL(run_threads) void count_runs_kernel(SortedIds ids, std::uint32_t* of_tile) {
  const std::int64_t i = std::int64_t{dev::block_index().x} * run_threads + dev::thread_index().x;
  const int count = dev::sync_block_count(ids.starts_run(i));
  if (dev::thread_index().x == 0) of_tile[dev::block_index().x] = static_cast<std::uint32_t>(count);
}

/// `before` holds the runs of the tiles before each.
METTLE_GLOBAL(run_threads)
void number_runs_kernel(SortedIds ids, const std::uint32_t* before, std::uint32_t* row_of,
                        std::int64_t* unique_ids, std::int64_t* count) {
  METTLE_SHARED(std::uint32_t, of_warp, run_threads / dev::warp_size);
  const std::int64_t i = std::int64_t{dev::block_index().x} * run_threads + dev::thread_index().x;
  const bool starts = ids.starts_run(i);
  std::uint32_t of_block;
  const std::uint32_t row = before[dev::block_index().x] +
                            block_sum_before<std::uint32_t>(starts ? 1 : 0, of_warp, of_block);
  if (starts) {
    row_of[i] = row;
    unique_ids[row] = static_cast<std::int64_t>(ids.keys[i]);
  }
  if (i == ids.n - 1) *count = row + (starts ? 1 : 0);
}

}  // namespace mettle::kernels::cuda
