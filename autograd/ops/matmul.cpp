// Batched matrix product and linear layer. Closed under differentiation: their gradients are matrix
// products.
#include "kernels/matmul.h"

#include "autograd/ops/linear.h"
#include "autograd/ops/support.h"

namespace mettle {

using ops::batch_of;
using ops::with_matrix;

namespace {

Tensor product(const Tensor& a, const Tensor& b, const kernels::MatmulEpilogue& end = {}) {
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
                   bs.at(-2), bs.at(-1), batch, batch_of(as), batch_of(bs), end});
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

/// The two factors, kept for the gradients.
class SavedFactors {
 public:
  SavedFactors(const Factor& left, const Factor& right)
      : a_(left.x), b_(right.x), ta_(left.transposed), tb_(right.transposed) {}

  /// Writes those that are wanted to d[0] and d[1].
  void gradients(const Backward& g, Variables& d) const {
    const Factor a{g(a_), ta_}, b{g(b_), tb_}, dy{g.dy()};
    if (g.needs(0))
      d[0] = ta_ ? gradient(b, dy.flipped(), a.x.shape()) : gradient(dy, b.flipped(), a.x.shape());
    if (g.needs(1))
      d[1] = tb_ ? gradient(dy.flipped(), a, b.x.shape()) : gradient(a.flipped(), dy, b.x.shape());
  }

 private:
  Saved a_, b_;
  bool ta_, tb_;
};

Variable record_factors(const Tensor& y, const Factor& left, const Factor& right) {
  return record("matmul", y, {&left.x, &right.x},
                [saved = SavedFactors(left, right)](const Backward& g) -> Variables {
                  Variables d(2);
                  saved.gradients(g, d);
                  return d;
                });
}

Variable multiply(const Factor& left, const Factor& right) {
  return record_factors(product(left.matrix(), right.matrix()), left, right);
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b) { return multiply({a}, {b}); }

ops::Linear ops::linear_operands(const Variable& x, const Variable& weight, const Variable& bias,
                                 const char* operation) {
  check_floating(x.value(), operation);
  check_same(x.value(), weight.value(), operation);
  if (bias) check_same(x.value(), bias.value(), operation);
  const int axes = weight.rank();
  const bool per_task = axes == 3 || (bias && bias.rank() == 2);
  METTLE_CHECK(ShapeError,
               (axes == 2 || (axes == 3 && x.rank() >= 2 && weight.size(0) == x.size(0))) &&
                   x.rank() >= 1 && weight.size(-2) == x.size(-1),
               "{}: weight of shape {} does not fit x of shape {}; it must be (in, out) for the "
               "last axis of x, or (T, in, out) with one matrix for each index of x's first axis",
               operation, to_string(weight.shape()), to_string(x.shape()));
  const std::int64_t in = weight.size(-2), out = weight.size(-1);
  METTLE_CHECK(ShapeError,
               !bias || bias.shape() == Shape{out} ||
                   (bias.rank() == 2 && x.rank() >= 2 && bias.shape() == Shape{x.size(0), out}),
               "{}: bias of shape {} does not fit weight of shape {} and x of shape {}; it must be "
               "(out), or (T, out) with one row for each index of x's first axis",
               operation, to_string(bias.shape()), to_string(weight.shape()), to_string(x.shape()));
  Shape lead(x.shape().span().first(x.shape().size() - 1)), y = lead;
  y.push_back(out);
  Shape rows;
  if (per_task) {
    rows.push_back(lead[0]);
    lead.erase(0);
  }
  rows.push_back(numel(lead));
  rows.push_back(in);
  return {reshape(x, rows), weight, bias ? contiguous(bias) : bias, y};
}

Tensor ops::linear_values(const Linear& in, std::optional<kernels::GeluForm> gelu,
                          const Tensor& z) {
  kernels::MatmulEpilogue end{.gelu = gelu, .z = z.defined() ? z.data() : nullptr};
  if (in.bias) end.bias = in.bias.value().data();
  if (in.x.rank() == 3) end.bias_batch = {in.bias && in.bias.rank() == 2 ? in.bias.size(-1) : 0};
  return product(in.x.value(), in.weight.value(), end);
}

Variable ops::record_product(const Tensor& y, const Variable& x, const Variable& weight) {
  return record_factors(y, {x}, {weight});
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  const ops::Linear in = ops::linear_operands(x, weight, bias, "linear");
  const Tensor y = ops::linear_values(in);
  if (!bias) return reshape(ops::record_product(y, in.x, in.weight), in.y);
  const Variable rows = record(
      "linear", y, {&in.x, &in.weight, &in.bias},
      [saved = SavedFactors({in.x}, {in.weight}), bias_shape = in.bias.shape()](const Backward& g) {
        Variables d(3);
        saved.gradients(g, d);
        if (g.needs(2)) {  // (out) or (T, out)
          const Shape kept =
              bias_shape.rank() == 1 ? bias_shape : Shape{bias_shape[0], 1, bias_shape[1]};
          d[2] = reshape(sum_to(g.dy(), kept), bias_shape);
        }
        return d;
      });
  return reshape(rows, in.y);
}

}  // namespace mettle
