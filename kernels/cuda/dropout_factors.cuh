// The factors of dropout, 0 or 1 / (1 - p), made where they are used: element i is dropped when
// word i of the Philox stream is below the threshold, on every device alike.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "engine/random.h"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class A> struct DropoutFactors {
  PhiloxKey key;
  std::uint32_t threshold;
  A kept;  // 1 / (1 - p)

  /// Bit j: whether element i + j is kept, for `width` elements from a multiple of `width` on. A
  /// Philox block makes four words: about 18 instructions an element where width is 4 or more.
  template <int width> METTLE_DEVICE std::uint32_t keeps(std::int64_t i) const {
    constexpr std::uint32_t all = width == 32 ? ~0u : (1u << width) - 1;
    if (threshold == 0) return all;
    const auto first = static_cast<std::uint64_t>(i);
    std::uint32_t bits = 0;
    METTLE_UNROLL
    for (int block = 0; block < (width + 3) / 4; ++block) {
      const PhiloxBlock words = key.block(first / 4 + static_cast<std::uint64_t>(block));
      METTLE_UNROLL
      for (int j = 0; j < 4; ++j)
        if (dropout_keeps(words.word[j], threshold)) bits |= 1u << (4 * block + j);
    }
    return bits >> (first % 4) & all;  // shifts by 0 where width is a multiple of 4
  }
  METTLE_DEVICE A factor(std::uint32_t bits, int j) const { return (bits >> j & 1) ? kept : A{0}; }
};

template <class A> DropoutFactors<A> dropout_factors(const PhiloxKey& key, double p) {
  return {key, drop_threshold(p), static_cast<A>(1 / (1 - p))};
}
template <class A> DropoutFactors<A> no_dropout() { return {{}, 0, A{1}}; }

}  // namespace mettle::kernels::cuda
