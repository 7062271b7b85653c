// Dense algebra for the closed-form baselines: symmetric positive definite matrices of a few dozen
// rows, in double, row by row, lower triangles only. Everything larger belongs to the kernels.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/check.h"

namespace mettle {

/// Entries of the lower triangle of an (n, n) matrix stored row by row.
constexpr std::size_t packed_size(std::size_t n) { return n * (n + 1) / 2; }
/// Position of entry (row, column), column <= row.
constexpr std::size_t packed_index(std::size_t row, std::size_t column) {
  return packed_size(row) + column;
}

/// a += weight * x x'.
inline void packed_add_outer(std::span<double> a, std::span<const double> x, double weight) {
  double* out = a.data();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double scaled = weight * x[i];
    for (std::size_t j = 0; j <= i; ++j) *out++ += scaled * x[j];
  }
}

/// y = A x for the symmetric A whose lower triangle is `a`.
inline std::vector<double> packed_times(std::span<const double> a, std::span<const double> x) {
  std::vector<double> y(x.size(), 0.0);
  const double* entry = a.data();
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j, ++entry) {
      y[i] += *entry * x[j];
      y[j] += *entry * x[i];
    }
    y[i] += *entry++ * x[i];
  }
  return y;
}

inline double dot(std::span<const double> x, std::span<const double> y) {
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

/// The Cholesky factor L of A = L L'. ValueError when A is not positive definite.
class Cholesky {
 public:
  /// Factors the (n, n) matrix with the lower triangle `packed`.
  Cholesky(std::vector<double> packed, std::size_t n) : l_(std::move(packed)), n_(n) {
    for (std::size_t i = 0; i < n_; ++i) {
      double* row = &l_[packed_size(i)];
      for (std::size_t j = 0; j <= i; ++j) {
        const double* other = &l_[packed_size(j)];
        double sum = row[j];
        for (std::size_t k = 0; k < j; ++k) sum -= row[k] * other[k];
        if (j < i) {
          row[j] = sum / other[j];
        } else {
          METTLE_CHECK(ValueError, sum > 0.0,
                       "cholesky: pivot {} of {} is {}: the matrix is not positive definite", i, n_,
                       sum);
          row[i] = std::sqrt(sum);
        }
      }
    }
  }

  /// A^-1 b.
  std::vector<double> solve(std::span<const double> b) const {
    std::vector<double> x(b.begin(), b.end());
    for (std::size_t i = 0; i < n_; ++i) {
      const double* row = &l_[packed_size(i)];
      for (std::size_t j = 0; j < i; ++j) x[i] -= row[j] * x[j];
      x[i] /= row[i];
    }
    for (std::size_t i = n_; i-- > 0;) {
      const double* row = &l_[packed_size(i)];
      x[i] /= row[i];
      for (std::size_t j = 0; j < i; ++j) x[j] -= row[j] * x[i];
    }
    return x;
  }

  /// A^-1 as a lower triangle: L^-1 row by row, then (L^-1)' L^-1.
  std::vector<double> inverse() const {
    std::vector<double> m(l_.size(), 0.0);
    for (std::size_t i = 0; i < n_; ++i) {
      const double* row = &l_[packed_size(i)];
      double* out = &m[packed_size(i)];
      for (std::size_t k = 0; k < i; ++k) {
        const double* done = &m[packed_size(k)];
        for (std::size_t j = 0; j <= k; ++j) out[j] -= row[k] * done[j];
      }
      for (std::size_t j = 0; j < i; ++j) out[j] /= row[i];
      out[i] = 1.0 / row[i];
    }
    std::vector<double> inverse(l_.size(), 0.0);
    for (std::size_t k = 0; k < n_; ++k)
      packed_add_outer(inverse, std::span<const double>(&m[packed_size(k)], k + 1), 1.0);
    return inverse;
  }

 private:
  std::vector<double> l_;
  std::size_t n_;
};

}  // namespace mettle
