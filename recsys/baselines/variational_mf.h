// Matrix factorisation by variational Bayes with user and item biases, and its fold-in for users
// who come later.
//
//   stars = mu + b_i + b_u + q_i . z_u + noise,        noise ~ N(0, s2)
//   user vector (b_u, z_u) ~ N(0, diag(v_u, 1, ...))   item vector (b_i, q_i) ~ N(p_i, diag(v_i,
//   v_q, ...))
//
// The posterior is approximated by independent Gaussians per user and per item (Lim and Teh 2007).
// With features, the prior mean p_i is a ridge regression of the item vectors on the item's year,
// popularity and genres, so that rarely rated items inherit from their genre.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "recsys/baselines/baseline.h"

namespace mettle {

struct VariationalMfOptions {
  int factors = 8;               // length of z and q
  double factor_variance = 0.1;  // v_q
  bool genre_prior = false;      // p_i from features instead of 0
  double user_bias_variance = 0.2;
  double item_bias_variance = 0.25;
  int iterations = 15;
  std::uint64_t seed = 0;
};

/// Gaussian posteriors of all users or all items: (bias, factors) each.
struct LatentVectors {
  std::size_t size = 0;            // 1 + factors
  std::vector<double> mean;        // (count, size)
  std::vector<double> covariance;  // (count, packed_size(size))

  std::span<const double> mean_of(std::size_t n) const;
  std::span<const double> covariance_of(std::size_t n) const;
};

class VariationalMf {
 public:
  /// Fits to the ratings of `users`; `tick` is called after every iteration. ValueError when there
  /// are no users.
  VariationalMf(const Dataset& data, std::span<const std::int32_t> users,
                const VariationalMfOptions& options, const Tick& tick = {});

  /// Expected stars: the user vector's posterior given the support, against each item. Uncertain
  /// biases of support items count as extra noise.
  std::vector<double> predict(std::span<const ItemRating> support,
                              std::span<const std::int32_t> items) const;
  double noise_variance() const { return noise_; }
  /// Posterior mean of an item's factors q_i, without its bias.
  std::span<const double> item_factors(std::int32_t item) const {
    return items_.mean_of(static_cast<std::size_t>(item)).subspan(1);
  }

 private:
  std::vector<double> fold_in(std::span<const ItemRating> support) const;

  double global_mean_ = 0.0, noise_ = 0.75;
  std::vector<double> user_precision_;  // diagonal of the prior
  LatentVectors items_;
};

}  // namespace mettle
