// Single mistakes, each at the line whose comment names it.
#pragma once

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

template <Mistake which> METTLE_DEVICE void shared_mistake(const float* x, float* y) {
  using enum Mistake;
  METTLE_SHARED(float, values, 64);  // static_beyond_limit
  METTLE_SHARED(int, counter, 1);
  const int lane = dev::lane_index();
  if (which == uninitialised && lane < 31) values[lane] = x[lane];
  if (which == uninitialised_atomic) dev::atomic_add(counter, 1);  // uninitialised_atomic
  if (which == misaligned_copy)
    dev::copy_async<16>(values + 2 * (lane % 16), x);  // misaligned_copy
  if (which == misaligned_row) {
    std::uint32_t registers[1];
    dev::load_matrices(registers, values + lane);  // misaligned_row
  }
  if (which == unfinished_copy) {
    dev::copy_async<4>(values + lane, x + lane);  // unfinished_copy
    dev::commit_copies();
    return;
  }
  if (which == other_threads_local) {
    METTLE_SHARED(int*, pointer, 1);
    int local = lane;
    if (lane == 0) *pointer = &local;
    dev::sync_warp();
    **pointer = 1;  // other_threads_local
    dev::sync_warp();
    values[lane] = static_cast<float>(local);
  }
  dev::sync_block();
  if (which == uninitialised) y[lane] = values[lane];  // uninitialised, read
}

template <Mistake which> METTLE_DEVICE void barrier_mistake(const float* x) {
  using enum Mistake;
  METTLE_SHARED(dev::MBarrier, barrier, 1);
  METTLE_SHARED(float, values, 64);
  const int lane = dev::lane_index();
  if (which == named_barrier_missing) dev::sync_named(1, 64);          // named_barrier_missing
  if (which == named_barrier_count) dev::sync_named(1, 33);            // named_barrier_count
  if (which == mbarrier_uninitialised) dev::mbarrier_arrive(barrier);  // mbarrier_uninitialised
  if (which == mbarrier_over_arrival) {
    if (lane == 0) dev::mbarrier_init(barrier, 2);
    if (lane == 0) dev::mbarrier_arrive_expect(barrier, 16);
    if (lane == 0) dev::mbarrier_arrive(barrier);
    dev::sync_warp();
    dev::mbarrier_arrive(barrier);  // mbarrier_over_arrival
  }
  if (which == unfinished_bulk && lane == 0) {
    dev::mbarrier_init(barrier, 1);
    dev::mbarrier_arrive_expect(barrier, 64);
    dev::copy_bulk(values, x, 64, barrier);  // unfinished_bulk
  }
}

template <Mistake which> METTLE_DEVICE void memory_mistake(float* y) {
  using enum Mistake;
  const int lane = dev::lane_index();
  if (which == dynamic_beyond_launch) {
    dev::SharedCarver carver;
    carver.take<float>(65);  // dynamic_beyond_launch
  }
  if (which == dynamic_overlap) {
    dev::SharedCarver first, second;
    first.take<float>(16);
    second.take<float>(32);  // dynamic_overlap
  }
  if (which == past_the_end) y[64 + lane] = 1;      // past_the_end
  if (which == before_the_start) y[lane - 32] = 1;  // before_the_start
  if (which == block_copy_past_the_end) {
    struct Wide {
      float at[40];
    };
    reinterpret_cast<Wide*>(y)[lane] = Wide{};  // block_copy_past_the_end
  }
}

template <Mistake which> METTLE_GLOBAL(32) void make_mistake(const float* x, float* y) {
  shared_mistake<which>(x, y);
  barrier_mistake<which>(x);
  memory_mistake<which>(y);
}

METTLE_GLOBAL(1024) void fill_with_ones(float* y) { y[dev::thread_rank()] = 1; }  // ones

}  // namespace mettle::emulation_test
