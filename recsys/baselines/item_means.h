// Shrunk item means and the user's bias against them: baselines of their own and the ground on
// which the linear model stands.
#pragma once

#include <span>
#include <vector>

#include "recsys/baselines/baseline.h"

namespace mettle {

/// mean_i = (sum of stars + beta * mu) / (n + beta) over the training users' ratings.
struct ItemMeans {
  double global_mean = 0.0;  // mu
  double shrinkage = 0.0;    // beta, chosen on validation users
  std::vector<double> mean;  // (items)
};
ItemMeans fit_item_means(const Dataset& data, const ColdStartSplit& split);

/// sum over the support of (stars - mean_i) / (size + lambda).
double user_bias(const ItemMeans& means, double lambda, std::span<const ItemRating> support);
/// The lambda with the smallest validation error of mean_i + user_bias.
double select_bias_shrinkage(const Dataset& data, const ColdStartSplit& split,
                             const ItemMeans& means);

}  // namespace mettle
