// Checks of operands and launches of the basic kernels, shared by all operations.
#include "autograd/ops/support.h"

#include "kernels/copy.h"

namespace mettle::ops {

void check_same(const Tensor& a, const Tensor& b, std::string_view operation) {
  METTLE_CHECK(DTypeError, a.dtype() == b.dtype(),
               "{}: {} and {} differ in dtype; convert one with cast()", operation, describe(a),
               describe(b));
  METTLE_CHECK(DeviceError, a.device() == b.device(), "{}: {} and {} are on two devices", operation,
               describe(a), describe(b));
}

void check_floating(const Tensor& x, std::string_view operation) {
  METTLE_CHECK(DTypeError, is_floating(x.dtype()),
               "{}: takes floating dtypes, got {}; convert with cast()", operation, describe(x));
}

void check_arithmetic(const Tensor& x, std::string_view operation) {
  METTLE_CHECK(DTypeError,
               is_floating(x.dtype()) || x.dtype() == DType::i64 || x.dtype() == DType::i32,
               "{}: takes floating dtypes, i64 and i32, got {}; convert with cast()", operation,
               describe(x));
}

Shape batch_of(const Shape& shape) { return Shape(shape.span().first(shape.size() - 2)); }

Shape with_matrix(Shape batch, std::int64_t rows, std::int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

Lines lines_of(const Shape& shape, int axis) {
  Lines lines{1, shape[axis], 1};
  for (int i = 0; i < axis; ++i) lines.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) lines.inner *= shape[i];
  return lines;
}

Tensor map(kernels::UnaryOp op, const Tensor& x, double alpha, double beta) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::unary(current_stream(x.device()),
                 {op, x.dtype(), x.data(), y.data(), x.shape(), x.strides(), alpha, beta});
  return y;
}

Tensor map(kernels::BinaryOp op, const Tensor& a, const Tensor& b, std::string_view operation) {
  check_same(a, b, operation);
  check_arithmetic(a, operation);
  if (a.shape() == b.shape()) {
    Tensor y = Tensor::empty(a.shape(), a.dtype(), a.device());
    kernels::binary(current_stream(a.device()), {op, a.dtype(), a.data(), b.data(), y.data(),
                                                 a.shape(), a.strides(), b.strides()});
    return y;
  }
  Tensor y =
      Tensor::empty(broadcast_shapes(a.shape(), b.shape(), operation), a.dtype(), a.device());
  kernels::binary(current_stream(a.device()),
                  {op, a.dtype(), a.data(), b.data(), y.data(), y.shape(),
                   a.expand(y.shape()).strides(), b.expand(y.shape()).strides()});
  return y;
}

void copy_into(const Tensor& x, const Tensor& y) {
  kernels::copy(current_stream(x.device()),
                {x.data(), y.data(), x.dtype(), y.dtype(), x.shape(), x.strides(), y.strides()});
}

Tensor dense(const Tensor& x) {
  if (x.is_contiguous()) return x;
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  copy_into(x, y);
  return y;
}

Tensor filled(const Shape& shape, double value, DType dtype, Device device) {
  Tensor y = Tensor::empty(shape, dtype, device);
  kernels::fill(current_stream(device), {y.data(), dtype, y.numel(), value});
  return y;
}

}  // namespace mettle::ops
