// Ridge regression in closed form as a layer: the head of a few-shot learner that needs no gradient
// steps. Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with differentiable closed-form
// solvers", 2019.
#pragma once

#include "autograd/variable.h"

namespace mettle {

/// The w (..., d, m) that minimises |x w - y|^2 + penalty |w|^2 for rows x (..., n, d) and targets
/// y (..., n, m), f32 or f64: one problem for every index of the leading axes, batched. `penalty`
/// has one element and is positive. By a Cholesky factor of the smaller of the d x d and the n x n
/// system, so few rows of many features are cheap; differentiable to any order in all three.
/// A row of zeros in x and y changes nothing: it pads ragged batches.
/// ShapeError for operands that do not fit, ValueError for a penalty that is not positive.
Variable ridge_regression(const Variable& x, const Variable& y, const Variable& penalty);

}  // namespace mettle
