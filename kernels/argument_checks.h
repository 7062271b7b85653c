// Checks of arguments that the kernels of every device share. Their definitions are host code of
// their own: nvcc cannot compile engine/check.h.
#pragma once

#include <cstdint>

#include "kernels/cross_entropy.h"

namespace mettle::kernels {

/// ShapeError when `groups` equal groups of rows do not exist.
void check_groups(const char* operation, std::int64_t rows, std::int64_t groups);

/// ShapeError when there is no column, or no `groups` equal groups of rows.
void check_normalised(const char* operation, std::int64_t rows, std::int64_t columns,
                      std::int64_t groups);

/// ValueError unless 0 <= p < 1.
void check_drop_probability(double p);

/// What kernels/cross_entropy.h promises, but for the targets themselves.
void check_cross_entropy(const CrossEntropyRows& of);
/// The ValueError of a target that is no class.
[[noreturn]] void throw_no_class(std::int64_t target, std::int64_t position, std::int64_t classes,
                                 std::int64_t ignore_index);

}  // namespace mettle::kernels
