// Platt scaling and the least-squares line.
#include "recsys/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr double kRidge = 1e-3;

struct Moments {
  double mean = 0.0, spread = 1.0;
};

Moments moments(std::span<const double> values) {
  METTLE_CHECK(ValueError, !values.empty(), "calibration: no scores");
  const auto n = static_cast<double>(values.size());
  Moments out;
  for (const double v : values) out.mean += v / n;
  double squares = 0.0;
  for (const double v : values) squares += (v - out.mean) * (v - out.mean);
  METTLE_CHECK(ValueError, std::isfinite(squares), "calibration: a score is NaN or infinite");
  out.spread = std::sqrt(squares / n) + 1e-9;
  return out;
}

double sigmoid(double logit) { return 1.0 / (1.0 + std::exp(-logit)); }

// log(1 + exp(x)) without overflow.
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

using Weights = std::array<double, 2>;  // intercept, slope

double objective(std::span<const double> x, std::span<const std::uint8_t> y, const Weights& w) {
  double sum = 0.5 * kRidge * (w[0] * w[0] + w[1] * w[1]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double logit = w[0] + w[1] * x[i];
    sum += softplus(y[i] ? -logit : logit);
  }
  return sum;
}

// Newton direction of the objective above.
Weights newton_step(std::span<const double> x, std::span<const std::uint8_t> y, const Weights& w) {
  double h00 = kRidge, h01 = 0.0, h11 = kRidge, g0 = kRidge * w[0], g1 = kRidge * w[1];
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double p = sigmoid(w[0] + w[1] * x[i]);
    const double curvature = p * (1.0 - p), residual = p - (y[i] ? 1.0 : 0.0);
    h00 += curvature;
    h01 += curvature * x[i];
    h11 += curvature * x[i] * x[i];
    g0 += residual;
    g1 += residual * x[i];
  }
  const double determinant = h00 * h11 - h01 * h01;
  return {(h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant};
}

}  // namespace

double PlattScale::operator()(double score) const {
  return sigmoid(intercept + slope * (score - center) / spread);
}

PlattScale fit_platt(std::span<const double> scores, std::span<const std::uint8_t> likes) {
  METTLE_CHECK(ValueError, scores.size() == likes.size(), "calibration: {} scores for {} likes",
               scores.size(), likes.size());
  const Moments m = moments(scores);
  std::vector<double> x;
  x.reserve(scores.size());
  for (const double score : scores) x.push_back((score - m.mean) / m.spread);
  Weights w{};
  double value = objective(x, likes, w);
  for (int iteration = 0; iteration < 50; ++iteration) {
    const Weights step = newton_step(x, likes, w);
    // Halve the step until the convex objective falls; a step that cannot help ends the search.
    bool improved = false;
    for (double length = 1.0; length > 1e-6 && !improved; length *= 0.5) {
      const Weights next{w[0] - length * step[0], w[1] - length * step[1]};
      const double next_value = objective(x, likes, next);
      improved = next_value < value;
      if (improved) {
        w = next;
        value = next_value;
      }
    }
    if (!improved) break;
  }
  return {w[0], w[1], m.mean, m.spread};
}

LinearScale fit_line(std::span<const double> scores, std::span<const double> stars) {
  METTLE_CHECK(ValueError, scores.size() == stars.size(), "calibration: {} scores for {} ratings",
               scores.size(), stars.size());
  const Moments x = moments(scores), y = moments(stars);
  double covariance = 0.0, variance = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    covariance += (scores[i] - x.mean) * (stars[i] - y.mean);
    variance += (scores[i] - x.mean) * (scores[i] - x.mean);
  }
  const double slope = x.spread > 2e-9 ? covariance / variance : 0.0;
  return {y.mean - slope * x.mean, slope};
}

}  // namespace mettle
