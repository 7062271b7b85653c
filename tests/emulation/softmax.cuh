// Softmax of every row of x (R, n), one block per row; `rows_done` counts the rows. Each Fault is a
// mistake that people make, planted at the line whose comment names it.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

template <SoftmaxFault fault>
METTLE_GLOBAL(256)
void softmax_rows(const float* x, float* y, float* rows_done, int n) {
  using enum SoftmaxFault;
  METTLE_SHARED(float, maxima, 8);
  METTLE_SHARED(float, sums, 8);
  const int thread = dev::thread_rank(), threads = dev::block_size().x;
  const int lane = dev::lane_index(), warp = dev::warp_index(), warps = threads / dev::warp_size;
  const std::int64_t row = static_cast<std::int64_t>(dev::block_index().x) * n;
  if (fault == early_return && thread >= n) return;

  float maximum = -dev::infinity();
  for (int i = thread; i < n + (fault == global_bounds ? 1 : 0); i += threads)
    maximum = dev::maximum(maximum, x[row + i]);  // global_bounds
  maximum = dev::warp_max(maximum);
  if (lane == 0)
    maxima[fault == shared_bounds ? warp + 1 : warp] = maximum;  // shared_bounds, write
  if (fault == divergent_barrier) {
    if (warp == 0)
      dev::sync_block();  // divergent_barrier, first
    else
      dev::sync_block();  // divergent_barrier, second
  } else if (fault != missing_sync) {
    dev::sync_block();  // early_return
  }
  for (int i = 0; i < warps; ++i) maximum = dev::maximum(maximum, maxima[i]);  // missing_sync

  float sum = 0;
  for (int i = thread; i < n; i += threads) sum += dev::fast_exp(x[row + i] - maximum);
  sum = dev::warp_sum(sum);
  if (lane == 0) sums[warp] = sum;
  dev::sync_block();
  sum = 0;
  for (int i = 0; i < warps; ++i) sum += sums[i];
  for (int i = thread; i < n; i += threads) y[row + i] = dev::fast_exp(x[row + i] - maximum) / sum;
  if (thread != 0) return;
  if (fault == plain_add)
    *rows_done += 1.0f;  // plain_add
  else
    dev::atomic_add(rows_done, 1.0f);
}

}  // namespace mettle::emulation_test
