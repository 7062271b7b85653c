// Running sums over a warp and over a block, in a fixed order.
#pragma once

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// The sum of the values of the lanes up to and with this one.
template <class T>
METTLE_DEVICE T warp_running_sum(T value, dev::Where where = dev::Where::current()) {
  METTLE_UNROLL
  for (int distance = 1; distance < dev::warp_size; distance *= 2) {
    const T below = dev::shuffle_up(dev::full_warp, value, distance, dev::warp_size, where);
    if (dev::lane_index() >= distance) value += below;
  }
  return value;
}

/// The sum of the values of the threads before this one; `total` gets that of all. `shared` holds a
/// value per warp and may be used again after the next block barrier. All threads of the block call
/// it; whole warps.
template <class T> METTLE_DEVICE T block_sum_before(T value, T* shared, T& total) {
  const int warps =
      (dev::block_size().x * dev::block_size().y * dev::block_size().z) / dev::warp_size;
  const T sum = warp_running_sum(value);
  // Not sum - value, which would be NaN behind an infinity.
  T below = dev::shuffle_up(dev::full_warp, sum, 1);
  if (dev::lane_index() == 0) below = T{};
  if (dev::lane_index() == dev::warp_size - 1) shared[dev::warp_index()] = sum;
  dev::sync_block();
  T before{};
  total = T{};
  for (int warp = 0; warp < warps; ++warp) {
    if (warp == dev::warp_index()) before = total;
    total += shared[warp];
  }
  return before + below;
}

}  // namespace mettle::kernels::cuda
