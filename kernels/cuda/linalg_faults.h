// The errors of factorisations that kernels report: FaultExplanations.
#pragma once

#include <cstdint>

namespace mettle::kernels::cuda {

/// `value` is what pivot_and_value() makes, `n` the matrices' size.
[[noreturn]] void explain_cholesky(std::int64_t matrix, std::int64_t value, std::int64_t n);
[[noreturn]] void explain_singular(std::int64_t matrix, std::int64_t element, std::int64_t n);

}  // namespace mettle::kernels::cuda
