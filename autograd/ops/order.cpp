// Orders and extreme positions. Indices are constants; sorted values are gathered with them, so
// gradients flow to where each value came from.
#include "kernels/order.h"

#include "autograd/ops/support.h"

namespace mettle {
namespace {

/// x with `axis` moved to the end, dense: the rows that the kernels read.
Tensor rows_of(const Tensor& x, int axis) { return ops::dense(x.transpose(axis, x.rank() - 1)); }

Variable sorted_indices(const char* name, const Variable& x, int axis, std::int64_t keep,
                        Order order) {
  const int at = normalize_axis(axis, x.rank(), name), last = x.rank() - 1;
  const std::int64_t n = x.size(at);
  METTLE_CHECK(ShapeError, 0 <= keep && keep <= n, "{}: {} elements of axis {} of {} are wanted",
               name, keep, at, to_string(x.shape()));
  const Tensor rows = rows_of(x.value(), at);
  Shape shape = rows.shape();
  shape[last] = keep;
  const Tensor indices = Tensor::empty(shape, DType::i64, x.device());
  if (indices.numel() > 0)
    kernels::sort(current_stream(x.device()), {rows.dtype(), order, rows.numel() / n, n, keep,
                                               rows.data(), indices.data<std::int64_t>()});
  return Variable(ops::dense(indices.transpose(at, last)));
}

Variable extreme_index(const char* name, const Variable& x, int axis, bool keep_axis, Order order) {
  const int at = normalize_axis(axis, x.rank(), name);
  METTLE_CHECK(ShapeError, x.size(at) > 0, "{}: axis {} of {} is empty", name, at,
               to_string(x.shape()));
  const Tensor rows = rows_of(x.value(), at);
  Shape shape = rows.shape();
  shape[x.rank() - 1] = 1;
  const Tensor index = Tensor::empty(shape, DType::i64, x.device());
  kernels::arg_extremum(current_stream(x.device()), {rows.dtype(), order, index.numel(), x.size(at),
                                                     rows.data(), index.data<std::int64_t>()});
  const Variable found(ops::dense(index.transpose(at, x.rank() - 1)));
  return keep_axis ? found : squeeze(found, at);
}

}  // namespace

Variable argmax(const Variable& x, int axis, bool keep_axis) {
  return extreme_index("argmax", x, axis, keep_axis, Order::descending);
}
Variable argmin(const Variable& x, int axis, bool keep_axis) {
  return extreme_index("argmin", x, axis, keep_axis, Order::ascending);
}

Variable argsort(const Variable& x, int axis, Order order) {
  return sorted_indices("argsort", x, axis, x.size(normalize_axis(axis, x.rank(), "argsort")),
                        order);
}

Sorted sort(const Variable& x, int axis, Order order) {
  const Variable indices =
      sorted_indices("sort", x, axis, x.size(normalize_axis(axis, x.rank(), "sort")), order);
  return {gather(x, axis, indices), indices};
}

Sorted topk(const Variable& x, std::int64_t k, int axis) {
  const Variable indices = sorted_indices("topk", x, axis, k, Order::descending);
  return {gather(x, axis, indices), indices};
}

Variable permutation(std::int64_t n, const RandomKey& key, Device device) {
  METTLE_CHECK(ShapeError, n >= 0, "permutation: {} is negative", n);
  return argsort(uniform({n}, key, 0.0, 1.0, DType::f64, device), 0);
}

}  // namespace mettle
