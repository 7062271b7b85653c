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

/// A variable as it enters a product. The gradients of a product are products of its factors'
/// transposes; read in place like this they come out in the layout of the variable that they
/// belong to, so that their sums run over dense memory and no transpose is recorded.
struct Factor {
  Variable x;
  bool transposed = false;

  Factor flipped() const { return {x, !transposed}; }
  Tensor matrix() const { return transposed ? x.value().transpose(-2, -1) : x.value(); }
};

Variable multiply(const Factor& a, const Factor& b);

/// a b summed to the shape of the variable whose gradient it is. When a batch of rows shared one
/// matrix, the batch becomes part of the inner dimension of a single product a^T b.
Variable gradient(const Factor& a, const Factor& b, const Shape& shape) {
  const bool rows_shared_it = shape.rank() == 2 && a.transposed && !b.transposed &&
                              a.x.rank() > 2 && batch_of(a.x.shape()) == batch_of(b.x.shape());
  if (!rows_shared_it) return sum_to(multiply(a, b), shape);
  return multiply({reshape(a.x, {-1, a.x.size(-1)}), true}, {reshape(b.x, {-1, b.x.size(-1)})});
}

Variable multiply(const Factor& left, const Factor& right) {
  return record("matmul", product(left.matrix(), right.matrix()), {&left.x, &right.x},
                [sa = Saved(left.x), ta = left.transposed, sb = Saved(right.x),
                 tb = right.transposed](const Backward& g) -> Variables {
                  const Factor a{g(sa), ta}, b{g(sb), tb}, dy{g.dy()};
                  Variables d(2);
                  if (g.needs(0))
                    d[0] = ta ? gradient(b, dy.flipped(), a.x.shape())
                              : gradient(dy, b.flipped(), a.x.shape());
                  if (g.needs(1))
                    d[1] = tb ? gradient(dy.flipped(), a, b.x.shape())
                              : gradient(a.flipped(), dy, b.x.shape());
                  return d;
                });
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b) { return multiply({a}, {b}); }

}  // namespace mettle
