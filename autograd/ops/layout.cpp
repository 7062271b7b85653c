// Primitives that move elements without changing them: each pair is adjoint (reshape and permute to
// their inverses, expand to sum_to, slice to pad, cast to cast back).
#include <algorithm>

#include "autograd/ops/support.h"

namespace mettle {

Variable alias(const Variable& x) {
  return record("alias", x.value(), {&x}, [](const Backward& g) -> Variables { return {g.dy()}; });
}

Variable to(const Variable& x, Device device) {
  if (x.device() == device) return x;
  return record("to", x.value().to(device), {&x},
                [from = x.device()](const Backward& g) -> Variables { return {to(g.dy(), from)}; });
}

Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  ops::copy_into(x.value(), y);
  if (!is_floating(x.dtype()) || !is_floating(dtype)) return Variable(y);
  return record("cast", y, {&x}, [from = x.dtype()](const Backward& g) -> Variables {
    return {cast(g.dy(), from)};
  });
}

Variable contiguous(const Variable& x) {
  if (x.value().is_contiguous()) return x;
  return record("contiguous", ops::dense(x.value()), {&x},
                [](const Backward& g) -> Variables { return {g.dy()}; });
}

namespace {

// Replaces one -1 by what is left of the elements.
Shape complete(Shape shape, std::int64_t elements) {
  int unknown = -1;
  std::int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] >= 0) {
      known *= shape[i];
      continue;
    }
    METTLE_CHECK(ShapeError, shape[i] == -1 && unknown < 0,
                 "reshape: {} may have one extent of -1 and no other below 0", to_string(shape));
    unknown = i;
  }
  if (unknown >= 0) {
    METTLE_CHECK(ShapeError, known > 0 && elements % known == 0,
                 "reshape: {} elements do not divide into {}", elements, to_string(shape));
    shape[unknown] = elements / known;
  }
  return shape;
}

}  // namespace

Variable reshape(const Variable& x, const Shape& wanted) {
  const Shape shape = complete(wanted, x.numel());
  if (shape == x.shape()) return x;
  METTLE_CHECK(ShapeError, numel(shape) == x.numel(), "reshape: {} has {} elements, {} has {}",
               to_string(x.shape()), x.numel(), to_string(shape), numel(shape));
  const Tensor& t = x.value();
  return record(
      "reshape", t.can_view(shape) ? t.view(shape) : ops::dense(t).view(shape), {&x},
      [from = x.shape()](const Backward& g) -> Variables { return {reshape(g.dy(), from)}; });
}

Variable permute(const Variable& x, std::span<const int> order) {
  Tensor y = x.value().permute(order);
  std::vector<int> inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<std::size_t>(normalize_axis(order[i], x.rank(), "permute"))] =
        static_cast<int>(i);
  return record("permute", std::move(y), {&x},
                [inverse](const Backward& g) -> Variables { return {permute(g.dy(), inverse)}; });
}

Variable permute(const Variable& x, std::initializer_list<int> order) {
  return permute(x, std::span(order.begin(), order.size()));
}

Variable transpose(const Variable& x, int axis_a, int axis_b) {
  return record("transpose", x.value().transpose(axis_a, axis_b), {&x},
                [axis_a, axis_b](const Backward& g) -> Variables {
                  return {transpose(g.dy(), axis_a, axis_b)};
                });
}

Variable expand(const Variable& x, const Shape& shape) {
  if (shape == x.shape()) return x;
  return record(
      "expand", x.value().expand(shape), {&x},
      [from = x.shape()](const Backward& g) -> Variables { return {sum_to(g.dy(), from)}; });
}

Variable unsqueeze(const Variable& x, int axis) {
  Shape shape = x.shape();
  shape.insert(normalize_axis(axis, x.rank() + 1, "unsqueeze"), 1);
  return reshape(x, shape);
}

Variable squeeze(const Variable& x, int axis) {
  Shape shape = x.shape();
  const int at = normalize_axis(axis, x.rank(), "squeeze");
  METTLE_CHECK(ShapeError, shape[at] == 1, "squeeze: axis {} of {} is not 1", at, to_string(shape));
  shape.erase(at);
  return reshape(x, shape);
}

Variable slice(const Variable& x, int axis, std::int64_t start, std::int64_t stop,
               std::int64_t step) {
  const int at = normalize_axis(axis, x.rank(), "slice");
  const std::int64_t size = x.shape()[at];
  const auto position = [size](std::int64_t p) {
    return p == to_end ? size : p < 0 ? p + size : p;
  };
  const std::int64_t from = position(start), to = position(stop);
  if (from == 0 && to == size && step == 1) return x;
  return record("slice", x.value().slice(at, from, to, step), {&x},
                [at, size, from, step](const Backward& g) -> Variables {
                  return {pad(g.dy(), at, size, from, step)};
                });
}

Variable select(const Variable& x, int axis, std::int64_t index) {
  const int at = normalize_axis(axis, x.rank(), "select");
  const std::int64_t i = index < 0 ? index + x.shape()[at] : index;
  METTLE_CHECK(ShapeError, 0 <= i && i < x.shape()[at], "select: index {} is outside axis {} of {}",
               index, at, to_string(x.shape()));
  return squeeze(slice(x, at, i, i + 1), at);
}

Variable pad(const Variable& x, int axis, std::int64_t size, std::int64_t start,
             std::int64_t step) {
  const int at = normalize_axis(axis, x.rank(), "pad");
  const std::int64_t count = x.shape()[at];
  const std::int64_t stop = count == 0 ? start : start + (count - 1) * step + 1;
  METTLE_CHECK(ShapeError, 0 <= start && stop <= size && step >= 1,
               "pad: {} elements from {} in steps of {} do not fit extent {}", count, start, step,
               size);
  Shape shape = x.shape();
  shape[at] = size;
  Tensor y = ops::filled(shape, 0.0, x.dtype(), x.device());
  ops::copy_into(x.value(), y.slice(at, start, stop, step));
  return record("pad", std::move(y), {&x}, [at, start, stop, step](const Backward& g) -> Variables {
    return {slice(g.dy(), at, start, stop, step)};
  });
}

Variable concat(std::span<const Variable> parts, int axis) {
  METTLE_CHECK(ShapeError, !parts.empty(), "concat: needs at least one part");
  const int at = normalize_axis(axis, parts[0].rank(), "concat");
  Shape shape = parts[0].shape();
  std::vector<std::int64_t> starts{0};
  for (const Variable& part : parts) {
    ops::check_same(parts[0].value(), part.value(), "concat");
    Shape other = part.shape();
    METTLE_CHECK(ShapeError, other.rank() == shape.rank(), "concat: {} and {} differ in rank",
                 to_string(shape), to_string(other));
    starts.push_back(starts.back() + other[at]);
    other[at] = shape[at];
    METTLE_CHECK(ShapeError, other == shape, "concat: {} and {} differ outside axis {}",
                 to_string(parts[0].shape()), to_string(part.shape()), at);
  }
  shape[at] = starts.back();
  const Tensor y = Tensor::empty(shape, parts[0].dtype(), parts[0].device());
  std::vector<const Variable*> inputs;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ops::copy_into(parts[i].value(), y.slice(at, starts[i], starts[i + 1]));
    inputs.push_back(&parts[i]);
  }
  return record_all("concat", std::span(&y, 1), inputs, [at, starts](const Backward& g) {
    Variables dxs;
    for (std::size_t i = 0; i + 1 < starts.size(); ++i)
      dxs.push_back(g.needs(i) ? slice(g.dy(), at, starts[i], starts[i + 1]) : Variable());
    return dxs;
  })[0];
}

Variable stack(std::span<const Variable> parts, int axis) {
  METTLE_CHECK(ShapeError, !parts.empty(), "stack: needs at least one part");
  Variables raised;
  for (const Variable& part : parts) raised.push_back(unsqueeze(part, axis));
  return concat(raised, axis);
}

}  // namespace mettle
