// Hierarchical Bayes linear regression: every user has an own weight vector over item features,
// drawn from one population, whose mean and covariance are learned from the training users.
//
//   stars = offset(x) + x . w_u + noise,   w_u ~ N(m, C),   noise ~ N(0, s2)
//
// offset(x) = mu + x . w is a ridge regression shared by all users. A new user's w_u has a closed
// form given the support; m, C and s2 come from EM (Dempster, Laird and Rubin 1977).
#pragma once

#include <span>
#include <vector>

#include "recsys/baselines/baseline.h"
#include "recsys/baselines/item_features.h"
#include "recsys/baselines/item_means.h"

namespace mettle {

/// x of an item, given what other users' ratings say about it: 1, shrunk mean - mu, popularity,
/// year, year^2 - 1, one flag per genre, (shrunk mean - mu) * popularity.
class LinearFeatures {
 public:
  LinearFeatures(const Dataset& data, const ItemSums& training);
  std::size_t size() const { return 6 + genres_; }
  /// Writes size() values.
  void fill(std::int32_t item, const ItemStatistics& statistics, std::span<double> x) const;

 private:
  const Dataset* data_;  // read only while fitting
  std::size_t genres_;
  double global_mean_;
  ItemScales scales_;
};

/// The population that users' weights are drawn from.
struct WeightPopulation {
  std::vector<double> mean;        // m, (size)
  std::vector<double> covariance;  // C, packed
  double noise = 0.8;              // s2
};

/// Sums of one user's ratings: X'X (packed), X'y and y'y for targets y, and their number.
struct UserMoments {
  std::vector<double> xx, xy;
  double yy = 0.0, count = 0.0;
};

inline constexpr int kPopulationRounds = 15;

/// EM from m = 0, C = 0.05 I, s2 = 0.8; `tick` is called after each of kPopulationRounds.
WeightPopulation fit_population(std::span<const UserMoments> users, std::size_t size,
                                const Tick& tick = {});

}  // namespace mettle
