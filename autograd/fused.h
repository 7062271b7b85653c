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
#include "kernels/bce_with_logits.h"
#include "kernels/bias_gelu.h"

namespace mettle {

/// gamma (x - mean) / sqrt(variance + eps) + beta over the last axis, with the biased variance.
/// gamma and beta are [D] or [T, D], alike; a null gamma is ones, a null beta zeros. Ba, Kiros and
/// Hinton, "Layer normalization", 2016.
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    double eps = 1e-5);

using kernels::GeluForm;  // erf, tanh

/// gelu(x + bias) = z Phi(z) with z = x + bias, Phi the normal distribution function or its tanh
/// approximation. bias is [D] for the last axis of x, or [T, D]; null: none. Hendrycks and Gimpel,
/// "Gaussian error linear units", 2016.
Variable bias_gelu(const Variable& x, const Variable& bias, GeluForm form = GeluForm::erf);
Variable gelu(const Variable& x, GeluForm form = GeluForm::erf);

using kernels::Reduction;  // none, mean, sum

struct BceOptions {
  Variable weight = {};     // constant, broadcasts to the logits' shape; null: ones
  double pos_weight = 1.0;  // factor of the loss of positive targets
  Reduction reduction = Reduction::mean;
};

/// Binary cross-entropy of sigmoid(logits) against targets in [0, 1] of the same shape, in the form
/// that neither overflows nor cancels. The loss is f32 (f64 for f64): of the logits' shape for
/// Reduction::none, else a scalar; mean divides by the number of logits, whatever the weights.
Variable bce_with_logits(const Variable& logits, const Variable& target,
                         const BceOptions& options = {});

}  // namespace mettle
