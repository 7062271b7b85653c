// Sums and maxima, and the means made of them.
#include "kernels/reduce.h"
#include "autograd/ops/support.h"

namespace mettle {
namespace {

std::uint32_t axis_bits(std::initializer_list<int> axes, int rank, const char* operation) {
  if (axes.size() == 0) return (1u << rank) - 1;
  std::uint32_t bits = 0;
  for (const int axis : axes) bits |= 1u << normalize_axis(axis, rank, operation);
  return bits;
}

/// The shape with the marked axes set to 1.
Shape kept_shape(Shape shape, std::uint32_t reduced) {
  for (int i = 0; i < shape.rank(); ++i)
    if (reduced >> i & 1u) shape[i] = 1;
  return shape;
}

/// The shape without the marked axes.
Shape dropped_shape(const Shape& shape, std::uint32_t reduced) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (!(reduced >> i & 1u)) out.push_back(shape[i]);
  return out;
}

Tensor reduced_tensor(kernels::ReduceOp op, const Tensor& x, std::uint32_t reduced) {
  const Tensor y = Tensor::empty(kept_shape(x.shape(), reduced), x.dtype(), x.device());
  kernels::reduce(current_stream(x.device()),
                  {op, x.dtype(), x.data(), y.data(), x.shape(), x.strides(), reduced});
  return y;
}

Variable sum_axes(const Variable& x, std::uint32_t reduced, bool keep_axes) {
  Tensor y = reduced_tensor(kernels::ReduceOp::sum, x.value(), reduced);
  if (!keep_axes) y = y.view(dropped_shape(x.shape(), reduced));
  return record("sum", std::move(y), {&x},
                [from = x.shape(), reduced](const Backward& g) -> Variables {
                  return {expand(reshape(g.dy(), kept_shape(from, reduced)), from)};
                });
}

}  // namespace

Variable sum(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  return sum_axes(x, axis_bits(axes, x.rank(), "sum"), keep_axes);
}

Variable mean(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  ops::check_floating(x.value(), "mean");
  const Variable total = sum(x, axes, keep_axes);
  return div(total, static_cast<double>(x.numel()) / static_cast<double>(total.numel()));
}

Variable sum_to(const Variable& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  METTLE_CHECK(ShapeError, broadcast_shapes(shape, x.shape(), "sum_to") == x.shape(),
               "sum_to: {} does not broadcast to {}", to_string(shape), to_string(x.shape()));
  const int extra = x.rank() - shape.rank();
  std::uint32_t reduced = (1u << extra) - 1;
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] == 1 && x.shape()[i + extra] != 1) reduced |= 1u << (i + extra);
  Tensor y = reduced_tensor(kernels::ReduceOp::sum, x.value(), reduced).view(shape);
  return record("sum_to", std::move(y), {&x}, [from = x.shape()](const Backward& g) -> Variables {
    return {expand(g.dy(), from)};
  });
}

Variable max(const Variable& x, int axis, bool keep_axis) {
  const int at = normalize_axis(axis, x.rank(), "max");
  METTLE_CHECK(ShapeError, x.shape()[at] > 0, "max: axis {} of {} is empty", at,
               to_string(x.shape()));
  const std::uint32_t reduced = 1u << at;
  const Tensor kept = reduced_tensor(kernels::ReduceOp::max, x.value(), reduced);
  Tensor y = keep_axis ? kept : kept.view(dropped_shape(x.shape(), reduced));
  return record(
      "max", std::move(y), {&x}, [x = Saved(x), kept, at](const Backward& g) -> Variables {
        const Variable chosen = cast(equal(g(x).detach(), Variable(kept)), g.dy().dtype());
        const Variable share = div(chosen, sum(chosen, {at}, true));
        return {mul(expand(reshape(g.dy(), kept.shape()), g(x).shape()), share)};
      });
}

}  // namespace mettle
