// The gradient of a sum whose parts are computed side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "autograd/variable.h"

namespace mettle {

/// A part of a loss: a scalar. Called on any thread, at the same time as other parts.
using PartOfSum = std::function<Variable(std::int64_t part)>;

struct SumGradient {
  Variable sum;         // not recorded
  Variables gradients;  // with respect to each input; null where no part depends on it
};

/// The sum of part(0), ..., part(parts - 1) and its gradient with respect to `inputs`. Each of
/// several parts is computed and differentiated by one thread, with nothing to wait for between its
/// operations: threads help even where each operation alone is too small to be shared. The parts'
/// gradients are added in their order: the bits do not depend on the number of threads. A part may
/// read shared variables; random numbers it takes from a key of its own. ValueError for no parts,
/// ShapeError for a part that is not a scalar; else what part() throws.
SumGradient grad_of_sum(std::int64_t parts, const PartOfSum& part,
                        std::span<const Variable> inputs);

}  // namespace mettle
