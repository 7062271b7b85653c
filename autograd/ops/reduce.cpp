// Sums and extrema, and the statistics made of them.
#include "kernels/reduce.h"

#include <algorithm>

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

// Equal extreme elements share the gradient.
Variable extremum(const char* name, kernels::ReduceOp op, const Variable& x, int axis,
                  bool keep_axis) {
  const int at = normalize_axis(axis, x.rank(), name);
  ops::check_arithmetic(x.value(), name);
  METTLE_CHECK(ShapeError, x.shape()[at] > 0, "{}: axis {} of {} is empty", name, at,
               to_string(x.shape()));
  const std::uint32_t reduced = 1u << at;
  const Tensor kept = reduced_tensor(op, x.value(), reduced);
  Tensor y = keep_axis ? kept : kept.view(dropped_shape(x.shape(), reduced));
  return record(name, std::move(y), {&x}, [x = Saved(x), kept, at](const Backward& g) -> Variables {
    const Variable chosen = cast(equal(g(x).detach(), Variable(kept)), g.dy().dtype());
    const Variable share = div(chosen, sum(chosen, {at}, true));
    return {mul(expand(reshape(g.dy(), kept.shape()), g(x).shape()), share)};
  });
}

/// 1 / length, and 0 for length 0, where all its derivatives are 0 too.
Variable inverse_length(const Variable& length) {
  const Variable zero = full({}, 0.0, length.dtype(), length.device());
  const Variable one = full({}, 1.0, length.dtype(), length.device());
  const Variable positive = greater(length, zero);
  return where(positive, reciprocal(where(positive, length, one)), zero);
}

/// Euclidean norm over the marked axes, which are kept. Elements are divided by the largest before
/// they are squared. The gradient x / y is taken as 0 where y is.
Variable wide_norm(const Variable& x, std::uint32_t reduced) {
  const Variable one = full({}, 1.0, x.dtype(), x.device());
  Variable scale = one;
  if (x.numel() > 0) {
    const Variable top(reduced_tensor(kernels::ReduceOp::max, abs(x.detach()).value(), reduced));
    scale = where(isfinite(div(top, top)), top, one);
  }
  Tensor y = mul(scale, sqrt(sum_axes(square(div(x.detach(), scale)), reduced, true))).value();
  const SavedOutput saved(y);
  return record("norm", std::move(y), {&x}, [x = Saved(x), saved](const Backward& g) -> Variables {
    return {mul(g.dy(), mul(g(x), inverse_length(g.output(saved))))};
  });
}

}  // namespace

Variable sum(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  ops::check_arithmetic(x.value(), "sum");
  return sum_axes(x, axis_bits(axes, x.rank(), "sum"), keep_axes);
}

Variable mean(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  ops::check_floating(x.value(), "mean");
  const Variable total = sum(x, axes, keep_axes);
  return div(total, static_cast<double>(x.numel()) / static_cast<double>(total.numel()));
}

Variable sum_to(const Variable& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  ops::check_arithmetic(x.value(), "sum_to");
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
  return extremum("max", kernels::ReduceOp::max, x, axis, keep_axis);
}
Variable min(const Variable& x, int axis, bool keep_axis) {
  return extremum("min", kernels::ReduceOp::min, x, axis, keep_axis);
}

Variable var(const Variable& x, std::initializer_list<int> axes, bool keep_axes,
             double correction) {
  ops::check_floating(x.value(), "var");
  const std::uint32_t reduced = axis_bits(axes, x.rank(), "var");
  const Shape kept = kept_shape(x.shape(), reduced);
  const double count =
      static_cast<double>(x.numel()) / static_cast<double>(std::max<std::int64_t>(1, numel(kept)));
  METTLE_CHECK(ValueError, x.numel() == 0 || count > correction,
               "var: {} elements and a correction of {} leave nothing to divide by", count,
               correction);
  return ops::in_wide(x, [&](const Variable& wide) {
    const Variable centre = div(sum_axes(wide, reduced, true), count);
    return div(sum_axes(square(sub(wide, centre)), reduced, keep_axes), count - correction);
  });
}

Variable norm(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  ops::check_floating(x.value(), "norm");
  const std::uint32_t reduced = axis_bits(axes, x.rank(), "norm");
  return ops::in_wide(x, [&](const Variable& wide) {
    const Variable y = wide_norm(wide, reduced);
    return keep_axes ? y : reshape(y, dropped_shape(y.shape(), reduced));
  });
}

// Each vector is brought to length 1 first, so that no product overflows.
Variable cosine_similarity(const Variable& a, const Variable& b, int axis) {
  ops::check_same(a.value(), b.value(), "cosine_similarity");
  ops::check_floating(a.value(), "cosine_similarity");
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), "cosine_similarity");
  const int at = normalize_axis(axis, shape.rank(), "cosine_similarity");
  const DType wide = ops::wide_dtype(a.dtype());
  const auto unit = [&](const Variable& x) {
    const Variable v = expand(cast(x, wide), shape);
    return mul(v, inverse_length(wide_norm(v, 1u << at)));
  };
  return cast(sum(mul(unit(a), unit(b)), {at}), a.dtype());
}

}  // namespace mettle
