// Fused operations: one kernel each for value, gradient and second derivative, where a composite of
// the operations of autograd/ops.h would take many. They can be differentiated to any order; order
// 3 and above runs the composite.
//
// Common rules. Floating operands of one call have one dtype and one device; f64, f32, bf16 and f16
// are taken, and sums are made in f32 (f64 for f64). Optional operands are null Variables. "[T, D]"
// weights belong to an input [T, ..., D]: every task, an index of the first axis, has its own row.
// Errors are thrown before any work and name what does not fit: ShapeError, DTypeError,
// DeviceError, ValueError for constants out of range, AutogradError for a constant operand that
// requires a gradient.
#pragma once

#include "autograd/variable.h"

namespace mettle {

/// gamma (x - mean) / sqrt(variance + eps) + beta over the last axis, with the biased variance.
/// gamma and beta are [D] or [T, D], alike; a null gamma is ones, a null beta zeros. Ba, Kiros and
/// Hinton, "Layer normalization", 2016.
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    double eps = 1e-5);

}  // namespace mettle
