// Look-up along an axis and its adjoint, with an index per element (gather, scatter_add) or one
// list for all lines (index_select, index_add).
#include "kernels/indexing.h"

#include "autograd/ops/support.h"

namespace mettle {
namespace {

using kernels::LineIndex;
using ops::Lines;

/// The index as dense i64.
Tensor checked_index(const Variable& index, const Variable& x, const char* operation) {
  METTLE_CHECK(DTypeError, index.dtype() == DType::i64 || index.dtype() == DType::i32,
               "{}: indices are i64 or i32, got {}; convert with cast()", operation,
               describe(index.value()));
  METTLE_CHECK(DeviceError, index.device() == x.device(), "{}: {} and {} are on two devices",
               operation, describe(index.value()), describe(x.value()));
  return ops::dense(cast(index.detach(), DType::i64).value());
}

/// An index for every element of x outside of the axis.
Tensor element_index(const Variable& index, const Variable& x, int axis, const char* operation) {
  Shape shape = x.shape();
  if (index.rank() == x.rank()) shape[axis] = index.size(axis);
  METTLE_CHECK(ShapeError, index.shape() == shape,
               "{}: the index {} must have the shape of {} outside axis {}; use expand()",
               operation, to_string(index.shape()), to_string(x.shape()), axis);
  return checked_index(index, x, operation);
}

/// One list of indices.
Tensor list_index(const Variable& ids, const Variable& x, const char* operation) {
  METTLE_CHECK(ShapeError, ids.rank() == 1,
               "{}: the indices {} must be one list, shape (n,); for one index per element see "
               "gather()",
               operation, to_string(ids.shape()));
  return checked_index(ids, x, operation);
}

LineIndex per_element(const char* operation, const Tensor& index, const Lines& lines) {
  return {operation, index.data<std::int64_t>(), lines.size * lines.inner, lines.inner, 1};
}
LineIndex shared(const char* operation, const Tensor& ids) {
  return {operation, ids.data<std::int64_t>(), 0, 1, 0};
}

Tensor gathered(const Variable& x, int axis, std::int64_t n, const LineIndex& at) {
  const Tensor in = ops::dense(x.value());
  const Lines lines = ops::lines_of(in.shape(), axis);
  Shape shape = in.shape();
  shape[axis] = n;
  Tensor y = Tensor::empty(shape, in.dtype(), in.device());
  kernels::gather(current_stream(in.device()),
                  {in.dtype(), lines.outer, lines.size, n, lines.inner, at, in.data(), y.data()});
  return y;
}

Tensor scattered(const Variable& x, int axis, std::int64_t size, const LineIndex& at) {
  METTLE_CHECK(ShapeError, size >= 0, "{}: the extent {} is negative", at.operation, size);
  const Tensor in = ops::dense(x.value());
  const Lines lines = ops::lines_of(in.shape(), axis);
  Shape shape = in.shape();
  shape[axis] = size;
  Tensor y = Tensor::empty(shape, in.dtype(), in.device());
  kernels::scatter_add(current_stream(in.device()), {in.dtype(), lines.outer, size, lines.size,
                                                     lines.inner, at, in.data(), y.data()});
  return y;
}

}  // namespace

Variable gather(const Variable& x, int axis, const Variable& index) {
  const int at = normalize_axis(axis, x.rank(), "gather");
  const Tensor i = element_index(index, x, at, "gather");
  const Lines lines = ops::lines_of(i.shape(), at);
  return record("gather", gathered(x, at, lines.size, per_element("gather", i, lines)), {&x},
                [at, index = Saved(index), size = x.size(at)](const Backward& g) -> Variables {
                  return {scatter_add(g.dy(), at, g(index), size)};
                });
}

Variable scatter_add(const Variable& x, int axis, const Variable& index, std::int64_t size) {
  const int at = normalize_axis(axis, x.rank(), "scatter_add");
  METTLE_CHECK(ShapeError, index.shape() == x.shape(),
               "scatter_add: the index {} must have the shape of what is added, {}; use expand()",
               to_string(index.shape()), to_string(x.shape()));
  const Tensor i = checked_index(index, x, "scatter_add");
  const Lines lines = ops::lines_of(i.shape(), at);
  return ops::in_wide(x, [&](const Variable& wide) {
    return record("scatter_add", scattered(wide, at, size, per_element("scatter_add", i, lines)),
                  {&wide}, [at, index = Saved(index)](const Backward& g) -> Variables {
                    return {gather(g.dy(), at, g(index))};
                  });
  });
}

Variable index_select(const Variable& x, int axis, const Variable& ids) {
  const int at = normalize_axis(axis, x.rank(), "index_select");
  const Tensor i = list_index(ids, x, "index_select");
  return record("index_select", gathered(x, at, i.numel(), shared("index_select", i)), {&x},
                [at, ids = Saved(ids), size = x.size(at)](const Backward& g) -> Variables {
                  return {index_add(g.dy(), at, g(ids), size)};
                });
}

Variable index_add(const Variable& x, int axis, const Variable& ids, std::int64_t size) {
  const int at = normalize_axis(axis, x.rank(), "index_add");
  const Tensor i = list_index(ids, x, "index_add");
  METTLE_CHECK(ShapeError, i.numel() == x.size(at),
               "index_add: {} indices for {} slices of {} along axis {}", i.numel(), x.size(at),
               to_string(x.shape()), at);
  return ops::in_wide(x, [&](const Variable& wide) {
    return record("index_add", scattered(wide, at, size, shared("index_add", i)), {&wide},
                  [at, ids = Saved(ids)](const Backward& g) -> Variables {
                    return {index_select(g.dy(), at, g(ids))};
                  });
  });
}

Variable one_hot(const Variable& ids, std::int64_t classes, DType dtype) {
  METTLE_CHECK(ShapeError, classes >= 0, "one_hot: the number of classes {} is negative", classes);
  const Tensor i = checked_index(ids, ids, "one_hot");
  const Variable ones = full({i.numel(), 1}, 1.0, DType::f32, i.device());
  Shape shape = ids.shape();
  shape.push_back(classes);
  const Tensor rows = scattered(ones, 1, classes, {"one_hot", i.data<std::int64_t>(), 1, 1, 1});
  return cast(Variable(rows.view(shape)), dtype);
}

}  // namespace mettle
