// Ridge regression: the minimum's own condition, both forms, padding, derivatives, refusals.
#include "models/ridge.h"

#include <gmock/gmock.h>

#include "autograd/gradcheck.h"
#include "tests/autograd/message_of.h"
#include "tests/models/models_test_util.h"

namespace mettle::test {
namespace {

struct RidgeRow {
  std::string name;
  Shape x, y;
};

std::ostream& operator<<(std::ostream& out, const RidgeRow& row) { return out << row.name; }

class Ridge : public testing::TestWithParam<RidgeRow> {
 protected:
  const Variable x = random(GetParam().x, 1), y = random(GetParam().y, 2);
  const Variable penalty = full({}, 0.7, DType::f64);
};

TEST_P(Ridge, TheGradientOfTheObjectiveVanishesAtTheSolution) {
  const Variable w = ridge_regression(x, y, penalty).detach_requires_grad();
  Shape expected = GetParam().x;
  expected[expected.rank() - 2] = GetParam().x.at(-1);
  expected[expected.rank() - 1] = GetParam().y.at(-1);
  EXPECT_EQ(to_string(w.shape()), to_string(expected));
  const Variable objective = sum(square(matmul(x, w) - y)) + sum(square(w)) * 0.7;
  EXPECT_LT(distance(grad(objective, {w})[0], full_like(w, 0.0)), 1e-12);
}

TEST_P(Ridge, RowsOfZerosChangeNothing) {
  const int rows = x.rank() - 2;
  const auto padded = [&](const Variable& v) { return pad(v, rows, v.size(rows) + 9, 0); };
  EXPECT_LT(
      distance(ridge_regression(padded(x), padded(y), penalty), ridge_regression(x, y, penalty)),
      1e-12);
}

TEST_P(Ridge, DerivativesOfFirstAndSecondOrder) {
  const Function f = [](std::span<const Variable> in) {
    return Variables{ridge_regression(in[0], in[1], in[2])};
  };
  const Variables inputs{x, y, penalty};
  const auto first = gradcheck(f, inputs);
  EXPECT_TRUE(first) << first.where;
  const auto second = gradgradcheck(f, inputs);
  EXPECT_TRUE(second) << second.where;
}

INSTANTIATE_TEST_SUITE_P(Rows, Ridge,
                         testing::Values(RidgeRow{"many_rows", {7, 3}, {7, 2}},
                                         RidgeRow{"few_rows", {2, 5}, {2, 1}},
                                         RidgeRow{"square", {3, 3}, {3, 1}},
                                         RidgeRow{"batch_of_few_rows", {2, 3, 2, 4}, {2, 3, 2, 2}},
                                         RidgeRow{"batch_of_many_rows", {3, 4, 2}, {3, 4, 1}}),
                         [](const auto& row_info) { return row_info.param.name; });

TEST(Ridge, NoRowsGiveZeros) {
  const Variable w =
      ridge_regression(random({2, 0, 3}, 1), random({2, 0, 1}, 2), full({}, 1.0, DType::f64));
  EXPECT_EQ(distance(w, full({2, 3, 1}, 0.0, DType::f64)), 0.0);
}

TEST(Ridge, RefusalsSayWhatDoesNotFit) {
  const Variable x = random({4, 3}, 1), y = random({4, 1}, 2), one = full({}, 1.0, DType::f64);
  EXPECT_THAT(message_of<ShapeError>([&] {
                ridge_regression(x, random({5, 1}, 3), one);
              }),
              testing::AllOf(testing::HasSubstr("(4, 3)"), testing::HasSubstr("(5, 1)")));
  EXPECT_THAT(message_of<ShapeError>([&] { ridge_regression(x, random({4}, 3), one); }),
              testing::HasSubstr("expected (..., n, d) and (..., n, m)"));
  EXPECT_THAT(message_of<ShapeError>([&] { ridge_regression(x, y, random({2}, 3)); }),
              testing::HasSubstr("it is one number"));
  EXPECT_THAT(message_of<ValueError>([&] { ridge_regression(x, y, one * 0.0); }),
              testing::HasSubstr("not positive"));
}

}  // namespace
}  // namespace mettle::test
