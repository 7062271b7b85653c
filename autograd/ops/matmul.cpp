// Batched matrix product. Closed under differentiation: its gradients are matrix products.
#include "kernels/matmul.h"
#include "autograd/ops/support.h"

namespace mettle {

using ops::batch_of;
using ops::with_matrix;

namespace {

Tensor product(const Tensor& a, const Tensor& b) {
  ops::check_same(a, b, "matmul");
  ops::check_floating(a, "matmul");
  METTLE_CHECK(ShapeError, a.rank() >= 2 && b.rank() >= 2,
               "matmul: {} x {}: both need at least two axes; add one with unsqueeze()",
               to_string(a.shape()), to_string(b.shape()));
  METTLE_CHECK(ShapeError, a.size(-1) == b.size(-2),
               "matmul: {} x {}: inner dimensions {} and {} differ", to_string(a.shape()),
               to_string(b.shape()), a.size(-1), b.size(-2));
  const Shape batch = broadcast_shapes(batch_of(a.shape()), batch_of(b.shape()), "matmul");
  const std::int64_t m = a.size(-2), n = b.size(-1), k = a.size(-1);
  const Strides as = a.expand(with_matrix(batch, m, k)).strides();
  const Strides bs = b.expand(with_matrix(batch, k, n)).strides();
  const Tensor c = Tensor::empty(with_matrix(batch, m, n), a.dtype(), a.device());
  if (c.numel() == 0) return c;
  kernels::matmul(current_stream(a.device()),
                  {a.dtype(), m, n, k, a.data(), b.data(), c.data(), as.at(-2), as.at(-1),
                   bs.at(-2), bs.at(-1), batch, batch_of(as), batch_of(bs)});
  return c;
}

/// sum over everything but the last two axes of a^T b: the gradient of a matrix that many rows
/// shared. With both operands dense and b's matrix axes alone kept, the batch becomes part of the
/// inner dimension.
Variable transposed_product(const Variable& a, const Variable& b, const Shape& result) {
  if (result.rank() == 2 && a.rank() > 2 && a.rank() == b.rank())
    return matmul(transpose(reshape(a, {-1, a.size(-1)}), 0, 1), reshape(b, {-1, b.size(-1)}));
  return sum_to(matmul(transpose(a, -2, -1), b), result);
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b) {
  return record(
      "matmul", product(a.value(), b.value()), {&a, &b},
      [a = Saved(a), b = Saved(b)](const Backward& g) -> Variables {
        const Variable &va = g(a), &vb = g(b);
        return {g.needs(0) ? sum_to(matmul(g.dy(), transpose(vb, -2, -1)), va.shape()) : Variable(),
                g.needs(1) ? transposed_product(va, g.dy(), vb.shape()) : Variable()};
      });
}

}  // namespace mettle
