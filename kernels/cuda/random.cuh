// Random values: the CPU's numbers with the CPU's bits (kernels/random_numbers.h).
//
// Limit. A pair of normal numbers takes 10 rounds of Philox and about 100 f64 operations, which an
// SM of an H100 does 64 of a clock: some 290 G numbers a second, 1.1 TB/s of f32, a third of what
// memory takes. Parameters are drawn once; dropout draws its own bits.
#pragma once

#include "kernels/cuda/packs.cuh"
#include "kernels/random_numbers.h"

namespace mettle::kernels::cuda {

template <class T> METTLE_DEVICE T rounded(double value) {
  if constexpr (std::is_same_v<T, double>)
    return value;
  else
    return dev::round_to<T>(static_cast<float>(value));
}

/// Rounding to a narrow type may reach the open end; the closed end is the nearest value inside.
template <class T> METTLE_DEVICE T rounded_below(double value, double low, double high) {
  const T result = rounded<T>(value);
  double back;
  if constexpr (std::is_same_v<T, double>)
    back = result;
  else
    back = dev::to_float(result);
  return back < high || low == high ? result : rounded<T>(low);
}

/// forked[0], forked[1] = seed and offset of key.fork(part), by one thread.
METTLE_GLOBAL(1) void forked_key(PhiloxKey key, std::uint64_t part, std::uint64_t* forked) {
  const PhiloxKey k = key.fork(part);
  forked[0] = k.seed;
  forked[1] = k.offset;
}

/// y[i], i < n: in [a, b), or normal with mean a and deviation b. `pairs`: y takes two at a time.
template <class T>
METTLE_GLOBAL(256)
void random_values(T* y, std::int64_t n, PhiloxKey key, double a, double b, bool normal,
                   bool pairs) {
  const std::int64_t step = std::int64_t{dev::grid_size().x} * dev::block_size().x;
  std::int64_t pair = std::int64_t{dev::block_index().x} * dev::block_size().x + dev::thread_rank();
  for (; 2 * pair < n; pair += step) {
    const RandomPair u = uniform_pair(key, static_cast<std::uint64_t>(pair));
    dev::Pack<T, 2> values;
    if (normal) {
      const RandomPair x = scaled(normal_pair(u), a, b);
      values.at[0] = rounded<T>(x.first);
      values.at[1] = rounded<T>(x.second);
    } else {
      const RandomPair x = scaled(u, a, b - a);
      values.at[0] = rounded_below<T>(x.first, a, b);
      values.at[1] = rounded_below<T>(x.second, a, b);
    }
    if (pairs && 2 * pair + 1 < n) {
      *reinterpret_cast<dev::Pack<T, 2>*>(y + 2 * pair) = values;
    } else {
      y[2 * pair] = values.at[0];
      if (2 * pair + 1 < n) y[2 * pair + 1] = values.at[1];
    }
  }
}

}  // namespace mettle::kernels::cuda
