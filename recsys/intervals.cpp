// Cluster-robust intervals.
#include "recsys/intervals.h"

#include <cmath>
#include <limits>
#include <map>

#include "engine/check.h"

namespace mettle {

Interval clustered_interval(std::span<const double> values, std::span<const std::int32_t> users) {
  METTLE_CHECK(ValueError, values.size() == users.size(), "interval: {} values of {} users",
               values.size(), users.size());
  constexpr double kNormal95 = 1.959963984540054;  // 97.5 % point of the normal distribution
  struct Cluster {
    double sum = 0, count = 0;
  };
  std::map<std::int32_t, Cluster> clusters;
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    Cluster& cluster = clusters[users[i]];
    cluster.sum += values[i];
    cluster.count += 1;
    sum += values[i];
    count += 1;
  }
  Interval out;
  out.users = std::ssize(clusters);
  out.observations = static_cast<std::int64_t>(count);
  out.mean = sum / count;  // NaN for no values
  double squares = 0;
  for (const auto& [user, cluster] : clusters)
    squares += std::pow(cluster.sum - out.mean * cluster.count, 2);
  const auto groups = static_cast<double>(clusters.size());
  out.half = groups < 2 ? std::numeric_limits<double>::quiet_NaN()
                        : kNormal95 * std::sqrt(groups / (groups - 1) * squares) / count;
  return out;
}

}  // namespace mettle
