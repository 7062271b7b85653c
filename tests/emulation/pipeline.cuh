// Sums of columns through a pipeline: one thread of warp 0 orders bulk copies of rows into two
// stages, warps 1 to 3 add them up. `full` says that a stage's bytes are in, `empty` that all
// readers are done with it.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

template <PipelineFault fault>
METTLE_GLOBAL(128)
void pipeline_sums(const float* x, float* y, int tiles) {
  using enum PipelineFault;
  constexpr int columns = pipeline_columns;
  METTLE_SHARED(dev::MBarrier, full, 2);
  METTLE_SHARED(dev::MBarrier, empty, 2);
  dev::SharedCarver carver;
  float* stages = carver.take<float>(2 * columns);
  const int thread = dev::thread_rank();
  if (thread == 0) {
    for (int i = 0; i < 2; ++i) {
      dev::mbarrier_init(&full[i], 1);
      dev::mbarrier_init(&empty[i], columns);
    }
    dev::fence_async_proxy();
  }
  dev::sync_block();
  if (thread == 0) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2, round = tile / 2;
      dev::MBarrier* free = fault == full_for_empty ? full : empty;
      if (round > 0 && fault != no_empty_wait) dev::mbarrier_wait(&free[stage], (round - 1) % 2);
      constexpr std::uint32_t bytes = columns * sizeof(float);
      dev::mbarrier_arrive_expect(&full[stage], bytes + (fault == wrong_bytes ? 16 : 0));  // arrive
      dev::copy_bulk(stages + stage * columns, x + tile * columns, bytes, &full[stage]);   // copy
    }
  } else if (thread >= dev::warp_size) {
    const int column = thread - dev::warp_size;
    float sum = 0;
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2, parity = tile / 2 % 2;
      if (fault != no_full_wait)
        dev::mbarrier_wait(&full[stage], fault == wrong_parity ? 1 - parity : parity);  // full wait
      sum += stages[stage * columns + column];                                          // read
      dev::mbarrier_arrive(&empty[stage]);
    }
    y[column] = sum;
  }
}

}  // namespace mettle::emulation_test
