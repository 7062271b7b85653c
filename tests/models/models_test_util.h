// What the tests of models/ share: random parameters in f64, and comparison of variables.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "autograd/ops.h"
#include "models/params.h"

namespace mettle::test {

/// f64 normal numbers: number `stream` of a fixed sequence.
inline Variable random(const Shape& shape, std::uint64_t stream, double deviation = 1.0) {
  return normal(shape, {4321, stream}, 0.0, deviation, DType::f64);
}

/// Every parameter moved away from its special first value (0 or 1) by noise.
inline Params perturbed(const Params& params, double deviation = 0.3) {
  Variables values;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Variable& v = params.values()[i];
    values.push_back((v + random(v.shape(), 1000 + i, deviation)).detach_requires_grad());
  }
  return params.with_values(std::move(values));
}

/// Largest difference of two variables of one shape, in units of 1 + the largest value of b.
inline double distance(const Variable& a, const Variable& b) {
  EXPECT_EQ(to_string(a.shape()), to_string(b.shape()));
  const auto x = a.value().to_vector<double>(), y = b.value().to_vector<double>();
  double worst = 0.0, size = 0.0;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) return HUGE_VAL;
    worst = std::max(worst, std::abs(x[i] - y[i]));
    size = std::max(size, std::abs(y[i]));
  }
  return worst / (1.0 + size);
}

}  // namespace mettle::test
