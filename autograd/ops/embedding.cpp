// Look-up of table rows and its adjoint: both linear, each the gradient of the other.
#include "kernels/embedding.h"

#include "autograd/fused.h"
#include "autograd/ops/support.h"

namespace mettle {
namespace {

void check_ids(const Variable& ids, const Variable& beside, const char* operation) {
  METTLE_CHECK(DTypeError, ids.dtype() == DType::i64 || ids.dtype() == DType::i32,
               "{}: ids are i64 or i32, got {}; convert with cast()", operation,
               describe(ids.value()));
  METTLE_CHECK(DeviceError, ids.device() == beside.device(), "{}: {} and {} are on two devices",
               operation, describe(ids.value()), describe(beside.value()));
}

/// Rows (ids' shape..., D) that belong to ids.
void check_rows(const Variable& rows, const Variable& ids, const char* operation) {
  ops::check_floating(rows.value(), operation);
  check_ids(ids, rows, operation);
  METTLE_CHECK(ShapeError,
               rows.rank() == ids.rank() + 1 &&
                   Shape(rows.shape().span().first(ids.shape().size())) == ids.shape(),
               "{}: rows {} do not belong to ids {}; they must have the ids' shape and one more "
               "axis",
               operation, to_string(rows.shape()), to_string(ids.shape()));
}

}  // namespace

Variable embedding(const Variable& table, const Variable& ids, std::int64_t padding_id) {
  ops::check_floating(table.value(), "embedding");
  check_ids(ids, table, "embedding");
  METTLE_CHECK(ShapeError, table.rank() == 2, "embedding: the table {} must be (V, D)",
               to_string(table.shape()));
  const Tensor t = ops::dense(table.value()), i = ops::dense(ids.value());
  Shape shape = ids.shape();
  shape.push_back(t.size(1));
  Tensor y = Tensor::empty(shape, t.dtype(), t.device());
  kernels::embedding_forward(current_stream(t.device()),
                             {t.dtype(), i.dtype(), i.numel(), t.size(0), t.size(1), padding_id,
                              t.data(), i.data(), y.data()});
  return record("embedding", std::move(y), {&table},
                [ids = Saved(ids), rows = t.size(0), padding_id](const Backward& g) -> Variables {
                  return {scatter_rows(g.dy(), g(ids), rows, padding_id)};
                });
}

Variable scatter_rows(const Variable& rows, const Variable& ids, std::int64_t table_rows,
                      std::int64_t padding_id) {
  check_rows(rows, ids, "scatter_rows");
  const Tensor r = ops::dense(rows.value()), i = ops::dense(ids.value());
  Tensor table = ops::filled({table_rows, r.size(-1)}, 0.0, r.dtype(), r.device());
  kernels::embedding_backward(current_stream(r.device()),
                              {r.dtype(), i.dtype(), i.numel(), table_rows, r.size(-1), padding_id,
                               r.data(), i.data(), table.data()});
  return record("scatter_rows", std::move(table), {&rows},
                [ids = Saved(ids), padding_id](const Backward& g) -> Variables {
                  return {embedding(g.dy(), g(ids), padding_id)};
                });
}

SparseGradient sparse_rows(const Variable& d_rows, const Variable& ids, std::int64_t table_rows,
                           std::int64_t padding_id) {
  check_rows(d_rows, ids, "sparse_rows");
  const Tensor r = ops::dense(d_rows.value()), i = ops::dense(ids.value());
  const std::int64_t width = r.size(-1);
  const Tensor unique = Tensor::empty({i.numel()}, DType::i64, r.device());
  const Tensor rows = Tensor::empty({i.numel(), width}, r.dtype(), r.device());
  const Tensor count = Tensor::empty({1}, DType::i64, r.device());
  kernels::embedding_sparse_backward(
      current_stream(r.device()),
      {r.dtype(), i.dtype(), i.numel(), table_rows, width, padding_id, r.data(), i.data(),
       static_cast<std::int64_t*>(unique.data()), rows.data(), count.data<std::int64_t>()});
  const auto touched = static_cast<std::int64_t>(count.item());
  return {unique.slice(0, 0, touched), rows.slice(0, 0, touched)};
}

}  // namespace mettle
