// Standardised year and popularity.
#include "recsys/baselines/item_features.h"

#include <cmath>

namespace mettle {
namespace {

// Mean and standard deviation of `values` with non-negative weights; spread 1 for a constant.
StandardScale weighted_scale(std::span<const double> values, std::span<const double> weights) {
  double weight = 0.0, sum = 0.0, squares = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    weight += weights[i];
    sum += weights[i] * values[i];
  }
  const double mean = sum / weight;
  for (std::size_t i = 0; i < values.size(); ++i)
    squares += weights[i] * (values[i] - mean) * (values[i] - mean);
  const double spread = std::sqrt(squares / weight);
  return {mean, spread > 1e-9 ? spread : 1.0};
}

}  // namespace

ItemScales::ItemScales(const Dataset& data, const ItemSums& training) : year_(item_years(data)) {
  const StandardScale scale = weighted_scale(year_, training.count);
  for (double& year : year_) year = scale(year);
  std::vector<double> logs;
  for (const double count : training.count) logs.push_back(std::log1p(count));
  log_count_ = weighted_scale(logs, training.count);
}

double ItemScales::log_count(double count) const { return log_count_(std::log1p(count)); }

}  // namespace mettle
