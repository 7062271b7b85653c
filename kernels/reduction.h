// What becomes of the losses of single elements.
#pragma once

#include <cstdint>

namespace mettle::kernels {

/// The mean over no elements is NaN, the sum is 0.
enum class Reduction : std::uint8_t { none, mean, sum };

}  // namespace mettle::kernels
