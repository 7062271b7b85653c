// The orthogonal matrix nearest to a square one, for aligning two sets of latent factors.
#pragma once

#include <cstddef>
#include <vector>

namespace mettle {

/// The orthogonal factor of the polar decomposition of m (n, n), row by row: the rotation R that
/// minimises |A R - B| when m = A'B (orthogonal Procrustes problem; Schoenemann 1966). Newton's
/// iteration X <- (X + X^-T) / 2 (Higham 1986). Returns the identity when m is singular.
std::vector<double> polar_rotation(std::vector<double> m, std::size_t n);

}  // namespace mettle
