// Maps from a score to a probability or to stars, fitted on validation users.
#pragma once

#include <cstdint>
#include <span>

namespace mettle {

/// p(like) = 1 / (1 + exp(-(intercept + slope * (score - center) / spread))).
struct PlattScale {
  double intercept = 0.0, slope = 0.0, center = 0.0, spread = 1.0;
  double operator()(double score) const;
};

/// Logistic regression of `likes` on the standardised score (Platt 1999), with a slight ridge so
/// that separable and constant scores stay finite. ValueError for no data or a NaN score.
PlattScale fit_platt(std::span<const double> scores, std::span<const std::uint8_t> likes);

/// stars = intercept + slope * score.
struct LinearScale {
  double intercept = 0.0, slope = 0.0;
  double operator()(double score) const { return intercept + slope * score; }
};

/// Least squares; the mean alone where the score is constant.
LinearScale fit_line(std::span<const double> scores, std::span<const double> stars);

}  // namespace mettle
