// The errors of factorisations, in the CPU's words.
#include "kernels/cuda/linalg_faults.h"

#include <bit>

#include "engine/check.h"

namespace mettle::kernels::cuda {

void explain_cholesky(std::int64_t matrix, std::int64_t value, std::int64_t n) {
  fail<ValueError>(
      "cholesky: matrix {} of those of size {} is not positive definite: pivot {} is {}; add a "
      "multiple of the identity",
      matrix, n, value >> 32, std::bit_cast<float>(static_cast<std::uint32_t>(value)));
}

void explain_singular(std::int64_t matrix, std::int64_t element, std::int64_t) {
  fail<ValueError>("triangular_solve: matrix {} is singular: element ({}, {}) of its diagonal is 0",
                   matrix, element, element);
}

}  // namespace mettle::kernels::cuda
