// What is made of the vocabulary's words, for every compiler alike: reductions over a warp. The
// order of additions is fixed, so results have the same bits in every run.
#pragma once

#include <cstdint>

namespace mettle::dev {

/// Every lane gets the sum over all 32 lanes.
template <class T> METTLE_DEVICE T warp_sum(T value, Where where = Where::current()) {
  METTLE_UNROLL
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2)
    value += shuffle_xor(full_warp, value, lanes, warp_size, where);
  return value;
}

/// Every lane gets the largest value of all 32 lanes.
template <class T> METTLE_DEVICE T warp_max(T value, Where where = Where::current()) {
  METTLE_UNROLL
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2)
    value = maximum(value, shuffle_xor(full_warp, value, lanes, warp_size, where));
  return value;
}

}  // namespace mettle::dev
