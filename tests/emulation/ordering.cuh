// A write in one warp, a read in another, and what does or does not order them. The detector must
// follow every chain of synchronisation and must not take that of others for it.
#pragma once

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

// What warp 0 does between its write and the reader's turn.
template <Ordering how> METTLE_DEVICE void hand_over(dev::MBarrier* barrier, int* flag) {
  using enum Ordering;
  const int lane = dev::lane_index();
  if (how == named_barrier || how == named_chain || how == named_arrive_backwards)
    dev::sync_named(1, 64);
  if (how == named_arrive) dev::arrive_named(1, 64);
  if (how == mbarrier_each_lane) dev::mbarrier_arrive(barrier);
  if (how == mbarrier_one_lane) dev::sync_warp();
  if ((how == mbarrier_one_lane || how == mbarrier_without_warp) && lane == 0)
    dev::mbarrier_arrive(barrier);
  if (how == atomics) dev::fence_block();
  if (how == atomics || how == atomics_without_fence) dev::atomic_add(&flag[lane], 1);
  if (how == release_acquire) dev::store_release(&flag[lane], 1);
}

// What a reader does before it reads, warp 1, or warp 2 at the end of a chain. False when the
// writer's turn has not come: a thread that asks for it in a loop would hang the emulation.
template <Ordering how> METTLE_DEVICE bool take_over(dev::MBarrier* barrier, int* flag) {
  using enum Ordering;
  if (how == named_barrier || how == named_arrive) dev::sync_named(1, 64);
  if (how == named_arrive_backwards) dev::arrive_named(1, 64);
  if (how == named_chain) dev::sync_named(2, 64);
  if (how == mbarrier_each_lane || how == mbarrier_one_lane || how == mbarrier_without_warp)
    dev::mbarrier_wait(barrier, 0);
  if (how == release_acquire) return dev::load_acquire(&flag[dev::lane_index()]) != 0;
  if (how != atomics && how != atomics_without_fence) return true;
  const bool written = dev::atomic_add(&flag[dev::lane_index()], 0) != 0;
  if (how == atomics) dev::fence_block();
  return written || how == atomics_without_fence;
}

template <Ordering how> METTLE_GLOBAL(128) void write_then_read(const float* x, float* y) {
  using enum Ordering;
  METTLE_SHARED(float, values, 32);
  METTLE_SHARED(int, flag, 32);
  METTLE_SHARED(dev::MBarrier, barrier, 1);
  const int lane = dev::lane_index(), warp = dev::warp_index();
  if (dev::thread_rank() == 0)
    dev::mbarrier_init(barrier, how == mbarrier_each_lane ? dev::warp_size : 1);
  if (warp == 0) flag[lane] = 0;
  dev::sync_block();

  const int reader = how == named_chain ? 2 : 1;
  if (warp == 0) {
    values[lane] = x[lane];  // write
    hand_over<how>(barrier, flag);
    if (how == shuffle_only) {
      dev::shuffle_xor(dev::full_warp, lane, 1);
      y[lane ^ 1] = values[lane ^ 1];  // read in the warp
    }
  }
  if (how == named_chain && warp == 1) {
    dev::sync_named(1, 64);
    dev::sync_named(2, 64);
  }
  if (how == other_warps_barrier && warp >= 2) dev::sync_named(1, 64);
  if (how == block_barrier) dev::sync_block();
  if (warp == reader && how != shuffle_only) {
    if (take_over<how>(barrier, flag)) y[lane] = values[lane];  // read
  }
}

// Every block of one warp leaves its sum in `partial`; the one whose ticket is the last adds them
// up.
template <TicketFault fault>
METTLE_GLOBAL(32)
void add_by_ticket(const float* x, float* partial, int* ticket, float* total) {
  const int block = dev::block_index().x, blocks = dev::grid_size().x, lane = dev::lane_index();
  const float sum = dev::warp_sum(x[block * dev::warp_size + lane]);
  int mine = 0;
  if (lane == 0) {
    partial[block] = sum;  // ticket write
    if (fault != TicketFault::no_fence_before) dev::fence_device();
    mine = dev::atomic_add(ticket, 1);
    if (fault != TicketFault::no_fence_after) dev::fence_device();
  }
  dev::sync_warp();
  mine = dev::shuffle(dev::full_warp, mine, 0);
  if (mine != blocks - 1) return;
  float all = 0;
  for (int i = lane; i < blocks; i += dev::warp_size) all += partial[i];  // ticket read
  all = dev::warp_sum(all);
  if (lane == 0) *total = all;
}

// Blocks that do in shared memory what would order them in device memory. Their shared memory may
// have the same addresses; it is not the same.
METTLE_GLOBAL(32) void write_around_shared_atomics(float* y) {
  METTLE_SHARED(int, flag, 1);
  if (dev::lane_index() != 0) return;
  *flag = 0;
  dev::atomic_add(flag, 1);
  dev::fence_device();
  *y = 1;  // write of every block
  dev::fence_device();
  dev::atomic_add(flag, 1);
}

// Two bulk copies with an mbarrier each: waiting for one is no wait for the other.
template <TwoCopiesFault fault> METTLE_GLOBAL(64) void copy_two(const float* x, float* y) {
  METTLE_SHARED(float, values, 32);
  METTLE_SHARED(float, others, 32);
  METTLE_SHARED(dev::MBarrier, barriers, 2);
  const int lane = dev::lane_index();
  constexpr std::uint32_t bytes = 32 * sizeof(float);
  if (dev::thread_rank() == 0) {
    for (int i = 0; i < 2; ++i) dev::mbarrier_init(&barriers[i], 1);
    dev::fence_async_proxy();
    for (int i = 0; i < 2; ++i) dev::mbarrier_arrive_expect(&barriers[i], bytes);
    dev::copy_bulk(values, x, bytes, &barriers[0]);  // bulk copy
    dev::copy_bulk(others, x, bytes, &barriers[1]);
  }
  dev::sync_block();
  if (dev::warp_index() == 1) {
    // Keeps both copies from being under way at the end.
    dev::mbarrier_wait(&barriers[0], 0);
    dev::mbarrier_wait(&barriers[1], 0);
    return;
  }
  dev::mbarrier_wait(&barriers[fault == TwoCopiesFault::wrong_mbarrier ? 1 : 0], 0);
  y[lane] = values[lane];  // copied read
}

}  // namespace mettle::emulation_test
