// Every word of the vocabulary that the other test kernels do not use, with a known answer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

METTLE_GLOBAL(64) void use_atomics(AtomicsResult* out) {
  const int thread = dev::thread_rank();
  dev::atomic_add(&out->sum_of_int, thread);
  dev::atomic_add(&out->sum_of_int64, std::int64_t{thread} << 32);
  dev::atomic_add(&out->sum_of_double, 0.5 * thread);
  dev::atomic_min(&out->smallest, -thread);
  dev::atomic_max(&out->largest, static_cast<std::uint32_t>(thread));
  dev::atomic_add(&out->sum_of_exchanged, dev::atomic_exchange(&out->exchanged, thread + 1));
  int expected = 0;
  for (int found = 0; (found = dev::atomic_compare_exchange(&out->product, expected,
                                                            expected + 2 * thread)) != expected;)
    expected = found;
}

METTLE_GLOBAL(64) void use_votes(VoteWords* out) {
  const int thread = dev::thread_rank(), lane = dev::lane_index();
  const bool all = dev::sync_block_and(thread < 64);
  const bool not_all = dev::sync_block_and(thread < 63);
  const bool none = dev::sync_block_or(thread > 63);
  const bool any = dev::any_lane(dev::full_warp, lane == 7);
  const bool every = dev::all_lanes(dev::full_warp, lane >= 0);
  const bool not_every = dev::all_lanes(dev::full_warp, lane > 0);
  const int bits = dev::count_bits(dev::ballot(dev::full_warp, lane % 3 == 0));
  const float largest = dev::warp_max(static_cast<float>((lane * 7) % 32));
  // Segments of 8 lanes: lane 13 reads lane 8 + 3; the last of a segment keeps its own below it.
  const double in_segment = dev::shuffle(dev::full_warp, 0.5 * lane, 3, 8);
  const int down = dev::shuffle_down(dev::full_warp, lane, 3, 8);
  const auto half =
      dev::shuffle_xor(dev::full_warp, dev::round_to<bf16>(static_cast<float>(lane)), 16);
  if (thread == 13)
    *out = {all,
            not_all,
            none,
            any,
            every,
            not_every,
            bits,
            largest,
            in_segment,
            down,
            dev::to_float(half)};
}

// x (64) by pieces of 4, 8 and 16 bytes, the last piece of 16 cut after 4 bytes.
METTLE_GLOBAL(32) void use_copies(const float* x, float* y) {
  METTLE_SHARED(float, values, 64);
  const int lane = dev::lane_index();
  if (lane < 8) dev::copy_async<4>(values + lane, x + lane);
  if (lane < 8) dev::copy_async<8>(values + 8 + 2 * lane, x + 8 + 2 * lane);
  dev::commit_copies();
  if (lane < 10) dev::copy_async<16>(values + 24 + 4 * lane, x + 24 + 4 * lane, lane == 9 ? 4 : 16);
  dev::commit_copies();
  dev::wait_copies<1>();
  dev::sync_warp();
  if (lane < 24) y[lane] = values[lane];
  dev::wait_copies<0>();
  dev::sync_warp();
  for (int i = 24 + lane; i < 64; i += dev::warp_size) y[i] = values[i];
}

METTLE_GLOBAL(32) void use_numbers(const float* x, NumberWords* out) {
  const int i = dev::lane_index();
  const float value = x[i];
  NumberWords& o = out[i];
  o.exp2 = dev::fast_exp2(value);
  o.exp = dev::fast_exp(value);
  o.log = dev::fast_log(value);
  o.quotient = dev::fast_divide(value, 3.0f);
  o.rsqrt = dev::reciprocal_sqrt(value);
  o.rsqrt_f64 = dev::reciprocal_sqrt(double{value});
  o.larger = dev::maximum(value, 1.0f);
  o.smaller = dev::minimum(value, 1.0f);
  o.larger_f64 = dev::maximum(double{value}, 1.0);
  o.smaller_f64 = dev::minimum(double{value}, 1.0);
  o.clamped = dev::minimum(dev::maximum(i, 3), 20);
  o.bf16_rounded = dev::to_float(dev::round_to<bf16>(value));
  o.f16_rounded = dev::to_float(dev::round_to<f16>(value));
  o.same = dev::float_of(dev::bits_of(dev::to_float(dev::round_to<float>(value))));
  o.packed = dev::pack_halves<f16>(value, -value);
  const auto* fours = reinterpret_cast<const dev::Float4*>(x);
  const dev::Float4 four = fours[i / 4];
  o.of_four = four.at[i % 4];
}

}  // namespace mettle::emulation_test
