// Means with 95 % intervals where several observations belong to one user.
#pragma once

#include <cstdint>
#include <span>

namespace mettle {

struct Interval {
  double mean = 0.0;  // NaN when nothing was observed
  double half = 0.0;  // half the width of the 95 % interval: mean +- half; NaN below two users
  std::int64_t users = 0;
  std::int64_t observations = 0;

  /// Whether the interval lies wholly above or below 0.
  bool excludes_zero() const { return mean - half > 0.0 || mean + half < 0.0; }
};

/// Mean of all values that are not NaN, and 1.96 times its cluster-robust standard error
///   se^2 = G / (G - 1) * sum over users g of (sum of (value - mean) in g)^2 / N^2
/// with G users and N values: the draws and seeds of one user are not independent (Cameron and
/// Miller 2015). `users` names the cluster of each value. ValueError when the lengths differ.
Interval clustered_interval(std::span<const double> values, std::span<const std::int32_t> users);

}  // namespace mettle
