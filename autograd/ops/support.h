// What the operations share: checks of operands and launches of the basic kernels on tensors.
#pragma once

#include <string_view>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "engine/exec.h"
#include "kernels/elementwise.h"

namespace mettle::ops {

/// One dtype and one device for two operands, or DTypeError / DeviceError naming `operation`.
void check_same(const Tensor& a, const Tensor& b, std::string_view operation);
/// A floating dtype, or DTypeError.
void check_floating(const Tensor& x, std::string_view operation);

/// A floating dtype, i64 or i32, or DTypeError.
void check_arithmetic(const Tensor& x, std::string_view operation);
/// The type of sums and statistics: f64 for f64, else f32.
inline DType wide_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }
/// f(x), computed in f32 for the 16-bit types and rounded once.
template <class F> Variable in_wide(const Variable& x, F&& f) {
  const bool narrow = x.dtype() == DType::bf16 || x.dtype() == DType::f16;
  return narrow ? cast(f(cast(x, DType::f32)), x.dtype()) : f(x);
}
/// The losses of single elements, or their mean or sum.
Variable reduced(const Variable& loss, Reduction reduction);

/// The axes of a batch of matrices before the last two.
Shape batch_of(const Shape& shape);
/// A batch of rows x columns matrices.
Shape with_matrix(Shape batch, std::int64_t rows, std::int64_t columns);

/// A dense tensor seen along one axis: (outer, size, inner).
struct Lines {
  std::int64_t outer, size, inner;
};
Lines lines_of(const Shape& shape, int axis);

/// op(x) for every element, dense.
Tensor map(kernels::UnaryOp op, const Tensor& x, double alpha = 1.0, double beta = 0.0);
/// op(a, b) with broadcasting, dense.
Tensor map(kernels::BinaryOp op, const Tensor& a, const Tensor& b, std::string_view operation);
/// Copies x into y with conversion; equal shapes, any strides.
void copy_into(const Tensor& x, const Tensor& y);
/// x itself when dense in row-major order, else a copy that is.
Tensor dense(const Tensor& x);
/// Dense tensor with every element equal to `value`.
Tensor filled(const Shape& shape, double value, DType dtype, Device device);

}  // namespace mettle::ops
