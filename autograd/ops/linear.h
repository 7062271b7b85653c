// x W + b as one product of matrices: what linear() and the operations that contain it share.
#pragma once

#include <optional>

#include "autograd/ops/support.h"
#include "kernels/matmul.h"

namespace mettle::ops {

/// Operands as the kernels take them: one product, or one for each of T tasks.
struct Linear {
  Variable x;       // (rows, in) or (T, rows, in)
  Variable weight;  // (in, out) or (T, in, out)
  Variable bias;    // (out) or (T, out), dense; null: none
  Shape y;          // (..., out), the shape of the caller's result
};

/// ShapeError, DTypeError or DeviceError in `operation`'s name for what does not fit.
Linear linear_operands(const Variable& x, const Variable& weight, const Variable& bias,
                       const char* operation);

/// x W + b, (rows, out) or (T, rows, out); with a form the gelu of it, and then `z`, if it is
/// defined, is set to x W + b.
Tensor linear_values(const Linear& in, std::optional<kernels::GeluForm> gelu = {},
                     const Tensor& z = {});

/// Records y as the product of x and weight. y may have had more added to it: the gradients of a
/// product do not look at it.
Variable record_product(const Tensor& y, const Variable& x, const Variable& weight);

}  // namespace mettle::ops
