// Newton's iteration for the polar decomposition.
#include "recsys/polar.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace mettle {
namespace {

std::vector<double> identity(std::size_t n) {
  std::vector<double> out(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) out[i * n + i] = 1.0;
  return out;
}

/// Gauss-Jordan elimination with row pivoting; nothing when the matrix is singular to working
/// precision.
std::optional<std::vector<double>> inverse(std::vector<double> a, std::size_t n) {
  std::vector<double> out = identity(n);
  const double largest = std::abs(*std::max_element(
      a.begin(), a.end(), [](double x, double y) { return std::abs(x) < std::abs(y); }));
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < n; ++r)
      if (std::abs(a[r * n + c]) > std::abs(a[pivot * n + c])) pivot = r;
    if (std::abs(a[pivot * n + c]) <= 1e-13 * largest) return std::nullopt;
    for (std::size_t j = 0; j < n; ++j) {
      std::swap(a[c * n + j], a[pivot * n + j]);
      std::swap(out[c * n + j], out[pivot * n + j]);
    }
    const double scale = 1.0 / a[c * n + c];
    for (std::size_t j = 0; j < n; ++j) {
      a[c * n + j] *= scale;
      out[c * n + j] *= scale;
    }
    for (std::size_t r = 0; r < n; ++r) {
      const double factor = a[r * n + c];
      if (r == c || factor == 0.0) continue;
      for (std::size_t j = 0; j < n; ++j) {
        a[r * n + j] -= factor * a[c * n + j];
        out[r * n + j] -= factor * out[c * n + j];
      }
    }
  }
  return out;
}

}  // namespace

std::vector<double> polar_rotation(std::vector<double> m, std::size_t n) {
  for (int step = 0; step < 60; ++step) {
    const auto inverted = inverse(m, n);
    if (!inverted) return identity(n);
    double change = 0.0;
    std::vector<double> next(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        next[i * n + j] = 0.5 * (m[i * n + j] + (*inverted)[j * n + i]);
        change = std::max(change, std::abs(next[i * n + j] - m[i * n + j]));
      }
    m = std::move(next);
    if (change < 1e-14) break;
  }
  return m;
}

}  // namespace mettle
