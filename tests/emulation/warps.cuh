// Lanes of a warp that pass values to each other: through shared memory, and by shuffles and votes.
#pragma once

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

template <ExchangeFault fault>
METTLE_GLOBAL(64)
void exchange_neighbours(const float* x, float* y) {
  METTLE_SHARED(float, values, 64);
  const int thread = dev::thread_rank();
  values[thread] = x[thread];
  if (fault != ExchangeFault::no_sync_after_write) dev::sync_warp();
  const float neighbour = values[thread ^ 1];  // first read
  if (fault != ExchangeFault::no_sync_after_read) dev::sync_warp();
  values[thread] = 2 * neighbour;  // second write
  dev::sync_warp();
  y[thread] = values[thread ^ 1];
}

template <VotesFault fault>
METTLE_GLOBAL(32)
void votes_and_shuffles(const int* in, VotesResult* out) {
  const int lane = dev::lane_index(), mine = in[lane];
  const std::uint32_t ballot = dev::ballot(dev::full_warp, mine != 0);
  const bool any = dev::sync_block_or(mine == 7);
  const int count = dev::sync_block_count(mine != 0);
  const int sum = dev::warp_sum(mine);
  const int up = dev::shuffle_up(dev::full_warp, mine, 1);
  // The upper lanes of eight read beyond the mask and discard what they get.
  int down = 0;
  if (lane < 8) down = dev::shuffle_down(0xffu, mine, 4);
  if (fault == VotesFault::half_warp && lane < 16)
    down = dev::shuffle(dev::full_warp, down, 0);  // half_warp
  if (fault == VotesFault::inactive_lane && lane < 8)
    down = dev::shuffle(0xffu, down, 9);  // inactive_lane
  if (fault == VotesFault::divergent_lines) {
    if (lane < 16)
      down = dev::shuffle(dev::full_warp, down, 0);  // divergent_lines, first
    else
      down = dev::shuffle(dev::full_warp, down, 0);  // divergent_lines, second
  }
  if (lane == 0) out->ballot = ballot;
  if (lane == 0) out->any = any;
  if (lane == 0) out->count = count;
  if (lane == 0) out->sum = sum;
  if (lane == 0) out->down = down;
  if (lane == 31) out->up = up;
}

}  // namespace mettle::emulation_test
