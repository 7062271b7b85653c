// Triangles, Cholesky factors and substitution: by their definition in f64, for sizes around the
// kernels' panels, every layout, and what they say about matrices that have no factor.
#include "kernels/linalg.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;
using testing::AllOf;
using testing::HasSubstr;

constexpr DType solvable[] = {DType::f64, DType::f32};
bool on_cpu() { return device_under_test() == Device::cpu(); }

std::size_t place(std::int64_t n, std::int64_t matrix, std::int64_t i, std::int64_t j) {
  return static_cast<std::size_t>((matrix * n + i) * n + j);
}

TEST(Triangle, KeepsOneSideOfADiagonal) {
  const std::int64_t batch = 2, rows = 5, columns = 37;
  for (const DType dtype : float_dtypes)
    for (const Triangle side : {Triangle::lower, Triangle::upper})
      for (const std::int64_t diagonal : {-9, -2, 0, 3, 36, 40}) {
        Buffer x(dtype, random_vec(batch * rows * columns, 1, 1, 2)),
            y(dtype, batch * rows * columns);
        triangle(stream_under_test(),
                 {dtype, side, diagonal, batch, rows, columns, x.data(), y.data()});
        Vec want = x.values();
        for (std::int64_t i = 0; i < std::ssize(want); ++i) {
          const std::int64_t right = i % columns - i / columns % rows - diagonal;
          if (side == Triangle::lower ? right > 0 : right < 0)
            want[static_cast<std::size_t>(i)] = 0;
        }
        EXPECT_EQ(y.values(), want) << to_string(dtype) << " " << diagonal;
      }
}

TEST(Triangle, OfIntegersAndNothing) {
  const Array<std::int64_t> x({1, 2, 3, 4}), y({9, 9, 9, 9});
  triangle(stream_under_test(), {DType::i64, Triangle::upper, 1, 1, 2, 2, x.data(), y.data()});
  EXPECT_EQ(y.values(), (std::vector<std::int64_t>{0, 2, 0, 0}));
  const Array<std::uint8_t> bytes({1, 2, 3, 4}), out({9, 9, 9, 9});
  triangle(stream_under_test(), {DType::u8, Triangle::lower, 0, 1, 2, 2, bytes.data(), out.data()});
  EXPECT_EQ(out.values(), (std::vector<std::uint8_t>{1, 0, 3, 4}));
  triangle(stream_under_test(), {DType::f32, Triangle::lower, 0, 0, 2, 2, nullptr, nullptr});
}

/// A batch of matrices whose symmetric parts are positive definite.
Vec definite(std::int64_t batch, std::int64_t n) {
  const Vec x = random_vec(batch * n * n, static_cast<unsigned>(n));
  Vec a(x.size());
  for (std::int64_t m = 0; m < batch; ++m)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = i == j ? 1 : 0.25 * (i < j ? 1 : -1);
        for (std::int64_t k = 0; k < n; ++k)
          sum += x[place(n, m, i, k)] * x[place(n, m, j, k)] / static_cast<double>(n);
        a[place(n, m, i, j)] = sum;
      }
  return a;
}

struct Factor {
  Factor(DType dtype, std::int64_t batch, std::int64_t n, const Vec& values)
      : a(dtype, values),
        l(dtype, batch * n * n),
        failed(std::vector<std::int64_t>(static_cast<std::size_t>(batch), 77)) {
    cholesky(stream_under_test(), {dtype, batch, n, a.data(), l.data(), failed.data()});
  }
  Buffer a, l;
  Array<std::int64_t> failed;
};

TEST(Cholesky, TheFactorTimesItsTransposeIsTheSymmetricPart) {
  for (const DType dtype : solvable)
    for (const std::int64_t n : {1, 2, 5, 31, 32, 33, 64, 65, 101})
      for (const std::int64_t batch : {1, 5}) {
        if (batch * n > 200) continue;
        const Factor f(dtype, batch, n, definite(batch, n));
        EXPECT_EQ(f.failed.values(),
                  std::vector<std::int64_t>(static_cast<std::size_t>(batch), -1));
        const Vec a = f.a.values(), l = f.l.values();
        for (std::int64_t m = 0; m < batch; ++m)
          for (std::int64_t i = 0; i < n; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
              if (j > i) {
                ASSERT_EQ(l[place(n, m, i, j)], 0) << n << " " << i << " " << j;
                continue;
              }
              double sum = 0, size = 1;
              for (std::int64_t k = 0; k <= j; ++k) {
                const double term = l[place(n, m, i, k)] * l[place(n, m, j, k)];
                sum += term;
                size += std::abs(term);
              }
              // Golub and Van Loan, 4.2.6: the factor is exact for a matrix that differs by about
              // n roundings.
              ASSERT_NEAR(sum, (a[place(n, m, i, j)] + a[place(n, m, j, i)]) / 2,
                          static_cast<double>(n + 3) * rounding(dtype) * size)
                  << to_string(dtype) << " n " << n << " matrix " << m << " (" << i << ", " << j
                  << ")";
            }
      }
}

TEST(Cholesky, NamesTheFirstPivotThatIsNotPositive) {
  for (const DType dtype : solvable)
    for (const std::int64_t n : {4, 32, 80})
      for (const std::int64_t pivot : {std::int64_t{0}, n / 2, n - 1})
        for (const double bad : {-5.0, std::numeric_limits<double>::quiet_NaN()}) {
          if (std::isnan(bad) && pivot != n / 2) continue;
          Vec a = definite(3, n);
          a[place(n, 1, pivot, pivot)] = bad;
          const auto run = [&] {
            const Factor f(dtype, 3, n, a);
            EXPECT_EQ(f.failed.values(), (std::vector<std::int64_t>{-1, pivot, -1})) << n;
            const double found = f.l.values()[place(n, 1, pivot, pivot)];
            EXPECT_FALSE(found > 0) << n << " " << pivot;
            EXPECT_EQ(std::isnan(found), std::isnan(bad));
          };
          if (on_cpu())
            run();
          else
            EXPECT_THAT(message_of<ValueError>([&] {
                          run();
                          synchronize(device_under_test());
                        }),
                        AllOf(HasSubstr("cholesky: matrix 1 of"),
                              HasSubstr(fmt::format("pivot {} is {}", pivot,
                                                    std::isnan(bad) ? "nan" : "-")),
                              HasSubstr("identity")));
        }
}

TEST(Cholesky, NothingToDo) { const Factor f(DType::f32, 0, 3, {}); }

/// A triangular system: T is n x n with rubbish on its other side, unless transposed dense rows.
struct System {
  System(DType t, Triangle side, std::int64_t size, std::int64_t m, std::int64_t matrices,
         bool transposed, bool shares_t, bool shares_b)
      : dtype(t), triangle(side), n(size), columns(m), batch(matrices) {
    Vec values = random_vec((shares_t ? 1 : batch) * n * n, static_cast<unsigned>(n + m));
    for (std::size_t at = 0; at < values.size(); ++at) {
      const auto i = static_cast<std::int64_t>(at) / n % n, j = static_cast<std::int64_t>(at) % n;
      // Close to the identity, so that solutions do not grow.
      const bool below = transposed ? j > i : j < i;
      if (i == j)
        values[at] = 2 + values[at];
      else if (below == (side == Triangle::lower))
        values[at] /= static_cast<double>(n);
      else
        values[at] = std::numeric_limits<double>::quiet_NaN();
    }
    t_values = Buffer(t, values).values();
    t_row = transposed ? 1 : n;
    t_column = transposed ? n : 1;
    // B lies column after column, with a gap.
    b_values = Buffer(t, random_vec((shares_b ? 1 : batch) * columns * (n + 1), 7)).values();
    t_batch = {shares_t ? 0 : n * n};
    b_batch = {shares_b ? 0 : columns * (n + 1)};
  }

  Vec solve() {
    Buffer t(dtype, t_values), b(dtype, b_values), x(dtype, batch * n * columns);
    triangular_solve(stream_under_test(), {dtype,
                                           triangle,
                                           n,
                                           columns,
                                           t.data(),
                                           b.data(),
                                           x.data(),
                                           t_row,
                                           t_column,
                                           1,
                                           n + 1,
                                           {batch},
                                           t_batch,
                                           b_batch});
    return x.values();
  }

  void expect_right(const Vec& x) const {
    const auto at = [&](const Vec& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; };
    for (std::int64_t m = 0; m < batch; ++m)
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t c = 0; c < columns; ++c) {
          const double b = at(b_values, m * b_batch[0] + i + c * (n + 1));
          double sum = 0, size = std::abs(b);
          const std::int64_t from = triangle == Triangle::lower ? 0 : i;
          const std::int64_t to = triangle == Triangle::lower ? i : n - 1;
          for (std::int64_t k = from; k <= to; ++k) {
            const double term = at(t_values, m * t_batch[0] + i * t_row + k * t_column) *
                                at(x, (m * n + k) * columns + c);
            sum += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(sum, b, static_cast<double>(n + 2) * rounding(dtype) * size)
              << to_string(dtype) << " n " << n << " columns " << columns << " matrix " << m << " ("
              << i << ", " << c << ")";
        }
  }

  DType dtype;
  Triangle triangle;
  std::int64_t n, columns, batch;
  Vec t_values, b_values;
  std::int64_t t_row, t_column;
  Strides t_batch, b_batch;
};

TEST(TriangularSolve, SolvesEverySystem) {
  for (const DType dtype : solvable)
    for (const Triangle side : {Triangle::lower, Triangle::upper})
      for (const std::int64_t n : {1, 3, 32, 33, 70})
        for (const std::int64_t columns : {1, 6, 20, 40, 70}) {
          if (n * columns > 70 * 40) continue;
          System system(dtype, side, n, columns, 2, n % 2 == 0, columns == 6, columns == 20);
          system.expect_right(system.solve());
        }
}

TEST(TriangularSolve, BatchesOfManyAxesAndNothing) {
  System system(DType::f64, Triangle::lower, 5, 2, 6, true, false, false);
  Buffer t(DType::f64, system.t_values), b(DType::f64, system.b_values), x(DType::f64, 60);
  triangular_solve(stream_under_test(), {DType::f64,
                                         Triangle::lower,
                                         5,
                                         2,
                                         t.data(),
                                         b.data(),
                                         x.data(),
                                         1,
                                         5,
                                         1,
                                         6,
                                         {2, 1, 3},
                                         {75, 4, 25},
                                         {36, 4, 12}});
  system.expect_right(x.values());
  triangular_solve(
      stream_under_test(),
      {DType::f64, Triangle::lower, 5, 0, t.data(), b.data(), x.data(), 1, 5, 1, 6, {2}, {0}, {0}});
  triangular_solve(
      stream_under_test(),
      {DType::f64, Triangle::lower, 5, 2, t.data(), b.data(), x.data(), 1, 5, 1, 6, {0}, {0}, {0}});
}

TEST(TriangularSolve, NamesAZeroOnTheDiagonal) {
  for (const DType dtype : solvable)
    for (const Triangle side : {Triangle::lower, Triangle::upper})
      for (const std::int64_t columns : {2, 40}) {
        System system(dtype, side, 40, columns, 3, false, false, false);
        system.t_values[place(40, 2, 35, 35)] = 0;
        EXPECT_THAT(message_of<ValueError>([&] {
                      system.solve();
                      synchronize(device_under_test());
                    }),
                    HasSubstr("triangular_solve: matrix 2 is singular: element (35, 35) of its "
                              "diagonal is 0"));
      }
}

TEST(Linalg, SameBitsOnRepeat) {
  for (const DType dtype : solvable) {
    const Vec a = definite(2, 70);
    EXPECT_TRUE(Factor(dtype, 2, 70, a).l == Factor(dtype, 2, 70, a).l);
    for (const std::int64_t columns : {3, 40}) {
      System system(dtype, Triangle::upper, 70, columns, 2, true, false, false);
      EXPECT_EQ(system.solve(), system.solve());
    }
  }
}

TEST(Linalg, RefuseOtherTypes) {
  EXPECT_THAT(message_of<DTypeError>([] {
                const Array<std::int64_t> failed({0});
                cholesky(stream_under_test(), {DType::bf16, 1, 1, nullptr, nullptr, failed.data()});
              }),
              AllOf(HasSubstr("cholesky"), HasSubstr("bf16"), HasSubstr("cast()")));
  EXPECT_THAT(
      message_of<DTypeError>([] {
        triangular_solve(
            stream_under_test(),
            {DType::i64, Triangle::lower, 1, 1, nullptr, nullptr, nullptr, 1, 1, 1, 1, {}, {}, {}});
      }),
      AllOf(HasSubstr("triangular_solve"), HasSubstr("i64"), HasSubstr("cast()")));
}

}  // namespace
}  // namespace mettle::test
