// Small kernels for the tests of the CUDA back end, as host functions.
#pragma once

#include <cstdint>

#include "engine/device.h"

namespace mettle::test {

/// x[i] = a x[i] + b.
void affine(const Stream& stream, float* x, std::int64_t n, float a, float b);
/// y[i] = x[i] + y[i].
void add_to(const Stream& stream, const float* x, float* y, std::int64_t n);
/// Reports the places of negative values; the explanation throws ValueError.
void check_not_negative(const Stream& stream, const float* x, std::int64_t n);
/// Touches the element behind the last.
void write_past(const Stream& stream, float* x, std::int64_t n);

}  // namespace mettle::test
