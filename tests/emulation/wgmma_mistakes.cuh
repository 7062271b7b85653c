// Single mistakes with multiplies of warpgroups, each at the line whose comment names it, and right
// ways that come close to one. Ones times ones, 64 x 16 x 16, without a swizzle.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/hopper.h"

namespace mettle::emulation_test {

template <WgmmaFault fault> struct WgmmaMistake {
  static constexpr int n = 16, k = 16, stage_a = 64 * k, stage_b = n * k;
  using enum WgmmaFault;

  bf16* a;  // two stages
  bf16* b;
  dev::MBarrier* done;

  METTLE_DEVICE dev::SharedMatrix matrix_a(int stage) const {
    return dev::shared_matrix<dev::Swizzle::none>(a + stage * stage_a, 64 * 16, 128);
  }
  METTLE_DEVICE dev::SharedMatrix matrix_b(int stage) const {
    return dev::shared_matrix<dev::Swizzle::none>(b + stage * stage_b, n * 16, 128);
  }
  METTLE_DEVICE void fill() const {
    const bf16 one = dev::round_to<bf16>(1.0f);
    for (int i = dev::thread_rank(); i < 2 * stage_a; i += dev::block_size().x) a[i] = one;
    if (fault != never_written)
      for (int i = dev::thread_rank(); i < 2 * stage_b; i += dev::block_size().x)
        b[i] = one;  // fill
    if (dev::thread_rank() == 0) dev::mbarrier_init(done, 1);
    if (fault != no_proxy_fence && fault != fence_by_reader) dev::fence_async_proxy();
    if (fault != no_barrier) dev::sync_block();
    if (fault == fence_by_reader) dev::fence_async_proxy();
  }
  METTLE_DEVICE void overwrite(int stage) const {
    b[stage * stage_b] = dev::round_to<bf16>(2.0f);  // overwrite
  }

  // What differs between the warps.
  METTLE_DEVICE bool diverge(float (&acc)[n / 2]) const {
    const bool last = dev::warp_index() == 3;
    if (fault == missing_warp && last) return true;
    if (fault == warp_at_barrier && last) {
      dev::sync_block();  // warp_at_barrier
      return true;
    }
    if (fault == divergent_lines && last) {
      dev::multiply_add_async<bf16>(acc, matrix_a(0), matrix_b(0));  // divergent_lines
      return true;
    }
    return false;
  }

  METTLE_DEVICE void multiply_fragments(float (&acc)[n / 2]) const {
    std::uint32_t fragments[4];
    for (auto& pair : fragments) pair = dev::pack_halves<bf16>(1.0f, 1.0f);
    if (fault == fragments_not_fenced)
      dev::fence_multiplies(acc);
    else
      dev::fence_multiplies(acc, fragments);
    dev::multiply_add_async<bf16>(acc, fragments, matrix_b(0));  // fragments
    if (fault == fragments_overwritten) fragments[0] = 7;        // overwritten
    dev::commit_multiplies();
    dev::wait_multiplies<0>(acc);
  }

  METTLE_DEVICE void multiply(float (&acc)[n / 2]) const {
    if (fault != no_fence) dev::fence_multiplies(acc);
    if (fault == written_after_fence) acc[dev::lane_index() % 8] = 1.0f;
    if (diverge(acc)) return;
    const int other = fault == divergent_operands ? dev::warp_index() % 2 : 0;
    dev::SharedMatrix right = matrix_b(other);
    if (fault == off_pattern) right = dev::shared_matrix<dev::Swizzle::bytes_128>(b + 64, 16, 1024);
    if (fault == beyond_the_array) right = dev::advance(matrix_b(1), 256);
    dev::multiply_add_async<bf16>(acc, matrix_a(0), right);  // multiply
    if (fault == part_of_accumulators) {
      float(&half)[4] = reinterpret_cast<float(&)[4]>(acc[4]);
      dev::multiply_add_async<bf16>(half, matrix_a(0), right);  // part
    }
    if (fault == overwritten_before_wait && dev::thread_rank() == 70) overwrite(0);
    if (fault != not_committed) dev::commit_multiplies();
    if (fault == later_stage || fault == overwritten_wrong_stage || fault == too_few_waited) {
      dev::multiply_add_async<bf16>(acc, matrix_a(1), matrix_b(1));  // second
      dev::commit_multiplies();
    }
    if (fault == later_stage || fault == overwritten_wrong_stage) {
      dev::wait_multiplies<1>();
      if (dev::thread_rank() == 5) overwrite(fault == later_stage ? 0 : 1);
    }
    if (fault == too_few_waited) dev::wait_multiplies<1>(acc);  // too_few_waited
    if (fault == never_waited) return;
    if (fault == read_before_wait && acc[0] > 0) acc[1] = 1.0f;  // read_before_wait
    dev::wait_multiplies<0>(acc);                                // wait
    if (fault == one_warp_tells && dev::thread_rank() == 0) dev::mbarrier_arrive(done);
  }
};

template <WgmmaFault fault> METTLE_GLOBAL(256) void make_wgmma_mistake(float* d) {
  using enum WgmmaFault;
  using Mistake = WgmmaMistake<fault>;
  METTLE_SHARED(bf16, a, 2 * Mistake::stage_a);
  METTLE_SHARED(bf16, b, 2 * Mistake::stage_b);
  METTLE_SHARED(dev::MBarrier, done, 1);
  const Mistake tiles{a, b, done};
  tiles.fill();
  if (dev::warp_index() >= 4) {
    if (fault == one_warp_tells && dev::thread_rank() == 128) {
      dev::mbarrier_wait(done, 0);
      tiles.overwrite(0);
    }
    if (fault == overwritten_by_other_group && dev::thread_rank() == 128) tiles.overwrite(0);
    return;
  }
  float acc[Mistake::n / 2] = {};
  if (fault == fragments_not_fenced || fault == fragments_overwritten)
    tiles.multiply_fragments(acc);
  else
    tiles.multiply(acc);
  const int lane = dev::lane_index();
  METTLE_UNROLL
  for (int i = 0; i < Mistake::n / 2; ++i) {
    const int row = 16 * dev::warp_index() + lane / 4 + i / 2 % 2 * 8;
    d[row * Mistake::n + i / 4 * 8 + lane % 4 * 2 + i % 2] = acc[i];
  }
}

}  // namespace mettle::emulation_test
