// Triangles, the Cholesky factor and triangular systems. Their gradients are written in themselves,
// matrix products and each other.
#include "kernels/linalg.h"
#include "autograd/ops/support.h"

namespace mettle {
namespace {

void check_matrices(const Tensor& x, const char* operation) {
  METTLE_CHECK(ShapeError, x.rank() >= 2,
               "{}: {} is no matrix: at least two axes are needed; add one with unsqueeze()",
               operation, to_string(x.shape()));
}

void check_square(const Tensor& x, const char* operation) {
  check_matrices(x, operation);
  METTLE_CHECK(DTypeError, x.dtype() == DType::f64 || x.dtype() == DType::f32,
               "{}: takes f64 or f32, got {}; convert with cast()", operation, describe(x));
  METTLE_CHECK(ShapeError, x.size(-1) == x.size(-2), "{}: the last two axes of {} must be equal",
               operation, to_string(x.shape()));
}

Variable transposed(const Variable& x) { return transpose(x, -2, -1); }

Variable triangle_of(const char* name, Triangle triangle, const Variable& x,
                     std::int64_t diagonal) {
  check_matrices(x.value(), name);
  const Tensor in = ops::dense(x.value());
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
  const std::int64_t rows = in.size(-2), columns = in.size(-1);
  if (y.numel() > 0)
    kernels::triangle(current_stream(in.device()),
                      {in.dtype(), triangle, diagonal, in.numel() / (rows * columns), rows, columns,
                       in.data(), y.data()});
  return record(name, std::move(y), {&x}, [triangle, diagonal](const Backward& g) -> Variables {
    return {triangle == Triangle::lower ? tril(g.dy(), diagonal) : triu(g.dy(), diagonal)};
  });
}

void throw_failed(const Tensor& a, const Tensor& factors, const Tensor& failed) {
  for (std::int64_t m = 0; m < failed.numel(); ++m) {
    const std::int64_t pivot = failed.data<std::int64_t>()[m];
    if (pivot < 0) continue;
    fail<ValueError>(
        "cholesky: matrix {} of {} is not positive definite: pivot {} is {}; add a multiple of the "
        "identity",
        m, describe(a), pivot,
        factors.slice(0, m, m + 1).slice(1, pivot, pivot + 1).slice(2, pivot, pivot + 1).item());
  }
}

Tensor cholesky_factor(const Tensor& matrices) {
  check_square(matrices, "cholesky");
  const Tensor a = ops::dense(matrices);
  Tensor l = Tensor::empty(a.shape(), a.dtype(), a.device());
  const std::int64_t n = a.size(-1);
  if (a.numel() == 0) return l;
  const std::int64_t batch = a.numel() / (n * n);
  const Tensor failed = Tensor::empty({batch}, DType::i64, a.device());
  kernels::cholesky(current_stream(a.device()),
                    {a.dtype(), batch, n, a.data(), l.data(), failed.data<std::int64_t>()});
  if (a.device() == Device::cpu()) throw_failed(a, l.view({batch, n, n}), failed);
  return l;
}

Tensor substituted(const Tensor& t, const Tensor& b, Triangle triangle) {
  ops::check_same(t, b, "triangular_solve");
  check_square(t, "triangular_solve");
  check_matrices(b, "triangular_solve");
  METTLE_CHECK(ShapeError, t.size(-1) == b.size(-2),
               "triangular_solve: the matrix {} needs a right-hand side (..., {}, m), got {}",
               to_string(t.shape()), t.size(-1), to_string(b.shape()));
  const Shape batch =
      broadcast_shapes(ops::batch_of(t.shape()), ops::batch_of(b.shape()), "triangular_solve");
  const std::int64_t n = t.size(-1), columns = b.size(-1);
  const Strides ts = t.expand(ops::with_matrix(batch, n, n)).strides();
  const Strides bs = b.expand(ops::with_matrix(batch, n, columns)).strides();
  Tensor x = Tensor::empty(ops::with_matrix(batch, n, columns), t.dtype(), t.device());
  if (x.numel() == 0) return x;
  kernels::triangular_solve(
      current_stream(t.device()),
      {t.dtype(), triangle, n, columns, t.data(), b.data(), x.data(), ts.at(-2), ts.at(-1),
       bs.at(-2), bs.at(-1), batch, ops::batch_of(ts), ops::batch_of(bs)});
  return x;
}

}  // namespace

Variable eye(std::int64_t n, DType dtype, Device device) {
  METTLE_CHECK(ShapeError, n >= 0, "eye: {} is negative", n);
  const NoGrad off;
  return triu(tril(full({n, n}, 1.0, dtype, device)));
}

Variable tril(const Variable& x, std::int64_t diagonal) {
  return triangle_of("tril", Triangle::lower, x, diagonal);
}
Variable triu(const Variable& x, std::int64_t diagonal) {
  return triangle_of("triu", Triangle::upper, x, diagonal);
}

// With P = the lower triangle of L^T dL, its diagonal halved: dA = L^-T (P + P^T) L^-1 / 2.
// Murray, "Differentiation of the Cholesky decomposition", 2016.
Variable cholesky(const Variable& a) {
  Tensor l = cholesky_factor(a.value());
  const SavedOutput saved(l);
  return record("cholesky", std::move(l), {&a}, [saved](const Backward& g) -> Variables {
    const Variable factor = g.output(saved), upper = transposed(factor);
    const Variable product = matmul(upper, g.dy());
    const Variable both = add(tril(product), transposed(tril(product, -1)));
    const Variable half = triangular_solve(upper, both, Triangle::upper);  // L^-T (P + P^T)
    return {mul(triangular_solve(upper, transposed(half), Triangle::upper), 0.5)};
  });
}

// dB = T^-T dX, and dT = -dB X^T on T's triangle.
Variable triangular_solve(const Variable& t, const Variable& b, Triangle triangle) {
  Tensor x = substituted(t.value(), b.value(), triangle);
  const SavedOutput saved(x);
  return record("triangular_solve", std::move(x), {&t, &b},
                [t = Saved(t), sb = b.shape(), saved, triangle](const Backward& g) -> Variables {
                  const bool lower = triangle == Triangle::lower;
                  const Variable db = triangular_solve(transposed(g(t)), g.dy(),
                                                       lower ? Triangle::upper : Triangle::lower);
                  Variable dt;
                  if (g.needs(0)) {
                    const Variable product =
                        sum_to(matmul(db, transposed(g.output(saved))), g(t).shape());
                    dt = neg(lower ? tril(product) : triu(product));
                  }
                  return {dt, g.needs(1) ? sum_to(db, sb) : Variable()};
                });
}

Variable cholesky_solve(const Variable& l, const Variable& b) {
  return triangular_solve(transposed(l), triangular_solve(l, b), Triangle::upper);
}

}  // namespace mettle
