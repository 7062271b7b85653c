// Cholesky factors and triangular systems: they satisfy their defining equations at every size that
// the panels and tiles cut differently, and refuse what has no solution. Derivatives: ops_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/thread_counts.h"

namespace mettle {
namespace {

using test::message_of;
using testing::HasSubstr;

Variable random(const Shape& shape, std::uint64_t stream, DType dtype) {
  return cast(uniform(shape, {5, stream}, -1.0, 1.0, DType::f64), dtype);
}

/// Symmetric, eigenvalues at least n / 4.
Variable definite(const Shape& shape, DType dtype) {
  const Variable x = random(shape, 1, dtype);
  const auto n = static_cast<double>(shape.at(-1));
  return matmul(x, transpose(x, -2, -1)) + eye(shape.at(-1), dtype) * (n / 4.0);
}

/// Well-conditioned: off the diagonal at most 1 / n, on it at least 1.
Variable triangular(const Shape& shape, Triangle triangle, DType dtype) {
  const Variable x = random(shape, 2, dtype) / static_cast<double>(shape.at(-1));
  const Variable full_square = x + eye(shape.at(-1), dtype) * 2.0;
  return triangle == Triangle::lower ? tril(full_square) : triu(full_square);
}

/// Rounding errors of n products of numbers of size `scale`.
void expect_near(const Variable& got, const Variable& want, double n, double scale) {
  ASSERT_EQ(got.shape(), want.shape());
  const auto g = got.value().to_vector<double>(), w = want.value().to_vector<double>();
  const double tolerance = 4 * (n + 4) * test::rounding(got.dtype()) * scale;
  for (std::size_t i = 0; i < g.size(); ++i) ASSERT_NEAR(g[i], w[i], tolerance) << "element " << i;
}

Variable wide(const Variable& x) { return cast(x, DType::f64); }

TEST(Cholesky, FactorTimesItsTransposeIsTheMatrix) {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const std::int64_t n : {1, 2, 7, 63, 64, 65, 150}) {
      SCOPED_TRACE(testing::Message() << to_string(dtype) << " n " << n);
      const Variable a = definite({2, 3, n, n}, dtype), l = cholesky(a);
      ASSERT_EQ(l.dtype(), dtype);
      expect_near(cast(matmul(wide(l), transpose(wide(l), -2, -1)), dtype), a,
                  static_cast<double>(n), static_cast<double>(n));
      EXPECT_EQ(triu(l, 1).value().to_vector<double>(),
                std::vector<double>(static_cast<std::size_t>(l.numel()), 0.0));
    }
}

TEST(Cholesky, TakesTheSymmetricPartOfAnyStrides) {
  const Variable a = definite({5, 5}, DType::f64), skew = random({5, 5}, 3, DType::f64);
  const Variable tilted = a + skew - transpose(skew, 0, 1);
  expect_near(cholesky(tilted), cholesky(a), 5, 5);
  expect_near(cholesky(transpose(tilted, 0, 1)), cholesky(a), 5, 5);
}

TEST(Cholesky, NamesTheMatrixAndThePivotThatIsNotPositive) {
  std::vector<double> values;
  for (const double pivot : {2.0, -0.5, 1.0, 0.0})
    for (const double x : {1.0, 0.0, 0.0, 0.0, pivot, 0.0, 0.0, 0.0, 1.0}) values.push_back(x);
  const Variable batch(Tensor::from(values, {2, 2, 3, 3}));
  const std::string message = message_of<ValueError>([&] { cholesky(batch); });
  EXPECT_THAT(message, HasSubstr("cholesky: matrix 1 of f64 (2, 2, 3, 3)"));
  EXPECT_THAT(message, HasSubstr("pivot 1 is -0.5"));
  EXPECT_THAT(message, HasSubstr("identity"));
  EXPECT_THAT(message_of<ValueError>([&] { cholesky(select(select(batch, 0, 1), 0, 1)); }),
              HasSubstr("matrix 0 of f64 (3, 3) cpu is not positive definite: pivot 1 is 0"));
  const Variable nan = full({2, 2}, std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(message_of<ValueError>([&] { cholesky(nan); }), HasSubstr("pivot 0 is nan"));
}

TEST(TriangularSolve, TheProductIsTheRightHandSide) {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const Triangle triangle : {Triangle::lower, Triangle::upper})
      for (const std::int64_t n : {1, 5, 70})
        for (const std::int64_t columns : {1, 3, 64, 65, 130}) {
          SCOPED_TRACE(testing::Message()
                       << to_string(dtype) << " n " << n << " columns " << columns);
          const Variable t = triangular({2, n, n}, triangle, dtype);
          const Variable b = random({2, n, columns}, 4, dtype);
          const Variable x = triangular_solve(t, b, triangle);
          expect_near(cast(matmul(wide(t), wide(x)), dtype), b, static_cast<double>(n), 4);
          // The transpose is the other triangle, and the right-hand side may be strided.
          const Variable turned = triangular_solve(
              transpose(t, -2, -1), transpose(contiguous(transpose(b, -2, -1)), -2, -1),
              triangle == Triangle::lower ? Triangle::upper : Triangle::lower);
          expect_near(cast(matmul(transpose(wide(t), -2, -1), wide(turned)), dtype), b,
                      static_cast<double>(n), 4);
        }
}

TEST(TriangularSolve, ReadsOneTriangleAndBroadcasts) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Variable t = triangular({4, 4}, Triangle::lower, DType::f64);
  const Variable spoiled = where(equal(triu(full_like(t, 1.0), 1), full({}, 1.0, DType::f64)),
                                 full({}, nan, DType::f64), t);
  const Variable b = random({3, 2, 4, 2}, 6, DType::f64);
  const Variable x = triangular_solve(spoiled, b);
  EXPECT_EQ(x.shape(), (Shape{3, 2, 4, 2}));
  expect_near(matmul(t, x), b, 4, 4);
}

TEST(TriangularSolve, RefusesASingularMatrix) {
  const Variable t = eye(2, DType::f64) * 0.0 + tril(full({2, 2}, 1.0, DType::f64), -1);
  const std::string message = message_of<ValueError>([&] {
    triangular_solve(t, full({2, 1}, 1.0, DType::f64));
  });
  EXPECT_THAT(message, HasSubstr("triangular_solve: matrix 0 is singular"));
  EXPECT_THAT(message, HasSubstr("(0, 0)"));
}

TEST(CholeskySolve, SolvesThePositiveDefiniteSystem) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Variable a = definite({3, 40, 40}, dtype), b = random({3, 40, 2}, 7, dtype);
    const Variable x = cholesky_solve(cholesky(a), b);
    expect_near(cast(matmul(wide(a), wide(x)), dtype), b, 40, 8);
  }
}

TEST(Linalg, EmptyBatchesAndMatrices) {
  EXPECT_EQ(cholesky(full({0, 3, 3}, 1.0)).shape(), (Shape{0, 3, 3}));
  EXPECT_EQ(cholesky(full({2, 0, 0}, 1.0)).shape(), (Shape{2, 0, 0}));
  EXPECT_EQ(triangular_solve(full({0, 0}, 1.0), full({0, 2}, 1.0)).shape(), (Shape{0, 2}));
  EXPECT_EQ(triangular_solve(full({2, 2}, 1.0), full({2, 0}, 1.0)).shape(), (Shape{2, 0}));
  EXPECT_EQ(tril(full({0, 3}, 1.0)).shape(), (Shape{0, 3}));
}

TEST(Linalg, SameBitsWithAnyNumberOfThreads) {
  const Variable a = definite({3, 130, 130}, DType::f32), b = random({3, 130, 70}, 8, DType::f32);
  const auto run = [&] {
    const Variable l = cholesky(a);
    auto bits = l.value().to_vector<float>();
    const auto x = cholesky_solve(l, b).value().to_vector<float>();
    bits.insert(bits.end(), x.begin(), x.end());
    return bits;
  };
  const auto once = run();
  for (const int count : test::kThreadCounts) {
    const test::Threads threads(count);
    EXPECT_EQ(run(), once) << count << " threads";
  }
}

TEST(Linalg, RefusesWhatDoesNotFit) {
  const Variable square = full({2, 3, 3}, 1.0), wrong = full({2, 3}, 1.0);
  EXPECT_THAT(message_of<ShapeError>([&] { cholesky(wrong); }),
              HasSubstr("cholesky: the last two"));
  EXPECT_THAT(message_of<ShapeError>([&] { cholesky(full({3}, 1.0)); }), HasSubstr("unsqueeze"));
  EXPECT_THAT(message_of<DTypeError>([&] { cholesky(cast(square, DType::bf16)); }),
              HasSubstr("cast()"));
  EXPECT_THAT(message_of<ShapeError>([&] { triangular_solve(square, wrong); }),
              HasSubstr("needs a right-hand side (..., 3, m), got (2, 3)"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                triangular_solve(square, full({4, 3, 1}, 1.0));
              }),
              HasSubstr("triangular_solve"));
  EXPECT_THAT(message_of<DTypeError>([&] {
                triangular_solve(square, full({3, 1}, 1.0, DType::f64));
              }),
              HasSubstr("triangular_solve"));
  EXPECT_THAT(message_of<ShapeError>([&] { tril(full({3}, 1.0)); }), HasSubstr("tril"));
  EXPECT_THAT(message_of<ShapeError>([&] { eye(-1); }), HasSubstr("eye: -1"));
}

}  // namespace
}  // namespace mettle
