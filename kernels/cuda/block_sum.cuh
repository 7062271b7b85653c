// Sums over a block in a fixed order, so that results have the same bits in every run.
#pragma once

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Every thread gets the sums over the block of N values at once. `shared` holds N * warps values
/// and may be used again after the next block barrier. All threads of the block call it; whole
/// warps.
template <int N, class T>
METTLE_DEVICE void block_sums(T (&values)[N], T* shared, dev::Where where = dev::Where::current()) {
  const int warps =
      (dev::block_size().x * dev::block_size().y * dev::block_size().z) / dev::warp_size;
  METTLE_UNROLL
  for (int i = 0; i < N; ++i) values[i] = dev::warp_sum(values[i], where);
  if (warps == 1) return;
  if (dev::lane_index() == 0) {
    METTLE_UNROLL
    for (int i = 0; i < N; ++i) shared[dev::warp_index() * N + i] = values[i];
  }
  dev::sync_block();
  METTLE_UNROLL
  for (int i = 0; i < N; ++i) {
    values[i] = shared[i];
    for (int warp = 1; warp < warps; ++warp) values[i] += shared[warp * N + i];
  }
}

template <class T>
METTLE_DEVICE T block_sum(T value, T* shared, dev::Where where = dev::Where::current()) {
  T values[1] = {value};
  block_sums(values, shared, where);
  return values[0];
}

}  // namespace mettle::kernels::cuda
