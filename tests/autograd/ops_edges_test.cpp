// Adjoint pairs, values at the edges of their range, and what each operation refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/autograd/message_of.h"
#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ------------------------------------------------------------------------------- adjoint pairs

struct Pair {
  std::string name;
  Shape x;
  std::function<Variable(const Variable&)> forward, adjoint;
};

std::vector<Pair> pairs() {
  using V = const Variable&;
  const Variable each = index_pattern({4, 6}, 5), list = index_pattern({7}, 5);
  const Variable lower = uniform({4, 4}, {1, 1}, 1.0, 2.0, DType::f64);
  const Variable factor = uniform({4, 3}, {1, 2}, -1.0, 1.0, DType::f64);
  return {
      {"expand_sum_to",
       {4, 1},
       [](V x) {
         return expand(x, {2, 4, 3});
       },
       [](V y) {
         return sum_to(y, {4, 1});
       }},
      {"slice_pad",
       {9, 2},
       [](V x) { return slice(x, 0, 1, 8, 3); },
       [](V y) { return pad(y, 0, 9, 1, 3); }},
      {"gather_scatter_add",
       {5, 6},
       [=](V x) { return gather(x, 0, each); },
       [=](V y) { return scatter_add(y, 0, each, 5); }},
      {"index_select_index_add",
       {2, 5, 3},
       [=](V x) { return index_select(x, 1, list); },
       [=](V y) { return index_add(y, 1, list, 5); }},
      {"permute",
       {2, 3, 4},
       [](V x) {
         return permute(x, {2, 0, 1});
       },
       [](V y) {
         return permute(y, {1, 2, 0});
       }},
      {"transpose",
       {2, 3, 4},
       [](V x) { return transpose(x, 0, 2); },
       [](V y) { return transpose(y, 0, 2); }},
      {"reshape",
       {2, 6},
       [](V x) {
         return reshape(x, {3, 4});
       },
       [](V y) {
         return reshape(y, {2, 6});
       }},
      {"cumsum_flip",
       {3, 5, 2},
       [](V x) { return cumsum(x, 1); },
       [](V y) { return flip(cumsum(flip(y, 1), 1), 1); }},
      {"flip", {3, 5, 2}, [](V x) { return flip(x, 1); }, [](V y) { return flip(y, 1); }},
      {"tril", {2, 4, 5}, [](V x) { return tril(x, -1); }, [](V y) { return tril(y, -1); }},
      {"triu", {2, 4, 5}, [](V x) { return triu(x, 2); }, [](V y) { return triu(y, 2); }},
      {"affine",
       {3, 5},
       [](V x) { return affine(x, -2.5, 0.0); },
       [](V y) { return affine(y, -2.5, 0.0); }},
      {"where",
       {3, 5},
       [](V x) { return where(greater(full_like(x, 1.0), x), x, full_like(x, 0)); },
       [](V y) { return y; }},
      {"matmul",
       {2, 3, 4},
       [=](V x) { return matmul(x, factor); },
       [=](V y) { return matmul(y, transpose(factor, 0, 1)); }},
      {"triangular_solve",
       {4, 3},
       [=](V x) { return triangular_solve(lower, x); },
       [=](V y) { return triangular_solve(transpose(lower, 0, 1), y, Triangle::upper); }},
      {"sum_expand",
       {2, 3, 4},
       [](V x) {
         return sum(x, {0, 2});
       },
       [](V y) {
         return expand(reshape(y, {1, 3, 1}), {2, 3, 4});
       }},
  };
}

class Adjoint : public testing::TestWithParam<Pair> {};

double inner(const Variable& a, const Variable& b) { return sum(mul(a, b)).item(); }

TEST_P(Adjoint, TheInnerProductIsTheSameOnBothSides) {
  const Variable x = uniform(GetParam().x, {21, 0}, -0.9, 0.9, DType::f64);
  const Variable ax = GetParam().forward(x);
  const Variable y = normal(ax.shape(), {21, 1}, 0, 1, DType::f64);
  const Variable aty = GetParam().adjoint(y);
  ASSERT_EQ(aty.shape(), x.shape());
  double size = 0;
  for (const double v : mul(mettle::abs(ax), mettle::abs(y)).value().to_vector<double>()) size += v;
  EXPECT_NEAR(inner(ax, y), inner(x, aty), 1e-14 * (1 + size));
}

std::string pair_name(const testing::TestParamInfo<Pair>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, Adjoint, testing::ValuesIn(pairs()), pair_name);

// ------------------------------------------------------------------------------- edges of range

Variable numbers(const Vec& values, const Shape& shape) {
  return Variable(Tensor::from(values, shape), true);
}
Vec values_of(const Variable& x) { return x.value().to_vector<double>(); }

/// Gradient of the sum of y, and the gradient of a function of that.
std::pair<Vec, Vec> two_orders(const Variable& y, const Variable& x) {
  const Variable dx = grad(sum(y), {x}, {.create_graph = true})[0];
  return {values_of(dx), values_of(grad(sum(mul(dx, dx)), {x})[0])};
}

TEST(Edges, SoftmaxOfLargeNumbersNeitherOverflowsNorLosesItsSum) {
  const Variable x = numbers({1000, 1000, -1000, 3e38, 3e38, -3e38}, {2, 3});
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    EXPECT_THAT(values_of(softmax(cast(x, dtype), 1)), ElementsAre(0.5, 0.5, 0, 0.5, 0.5, 0));
    const Vec logs = values_of(log_softmax(slice(cast(x, dtype), 0, 0, 1), 1));
    EXPECT_NEAR(logs[0], -std::log(2.0), 1e-2);
    EXPECT_NEAR(logs[2], -2000, 20);
  }
}

TEST(Edges, ARowOfNothingButMinusInfinity) {
  const Variable x = numbers({-inf, -inf, -inf, 0.5, -inf, 0.5}, {2, 3});
  EXPECT_THAT(values_of(softmax(x, 1)), ElementsAre(0, 0, 0, 0.5, 0, 0.5));
  EXPECT_THAT(values_of(logsumexp(x, 1)), ElementsAre(-inf, 0.5 + std::log(2.0)));
  EXPECT_THAT(values_of(slice(log_softmax(x, 1), 0, 0, 1)), Each(-inf));
  const auto [softmax_first, softmax_second] = two_orders(mul(softmax(x, 1), softmax(x, 1)), x);
  EXPECT_THAT(softmax_first, Each(0.0));
  EXPECT_THAT(softmax_second, Each(0.0));
  const auto [first, second] = two_orders(logsumexp(x, 1), x);
  EXPECT_THAT(first, ElementsAre(0, 0, 0, 0.5, 0, 0.5));
  EXPECT_THAT(second, Each(0.0));
  for (const double d : values_of(grad(sum(log_softmax(x, 1)), {x})[0]))
    EXPECT_TRUE(std::isfinite(d));
}

TEST(Edges, NaNPassesThroughEveryElementwiseOperation) {
  for (const OpRow& row : elementwise_rows()) {
    if (row.operation == "where" || !row.variant.empty()) continue;
    for (const DType dtype : row.dtypes)
      for (std::size_t place = 0; place < row.shapes.size(); ++place) {
        Variables inputs(row.shapes.size(), full({19}, 1.0, dtype));  // whole vectors and a rest
        inputs[place] = full({19}, nan, dtype);
        EXPECT_THAT(values_of(row.f(inputs)[0]), Each(testing::IsNan()))
            << row.operation << " " << to_string(dtype) << " input " << place;
      }
  }
}

TEST(Edges, InfinityAndNaNAreSeenInTheRowThatHasThem) {
  const Variable x = numbers({inf, 0, 1, nan, 0, 0}, {3, 2});
  EXPECT_THAT(values_of(logsumexp(x, 1)),
              ElementsAre(inf, testing::IsNan(), testing::DoubleEq(std::log(2.0))));
}

TEST(Edges, ALengthOfZeroHasTheGradientZeroAtEveryOrder) {
  const Variable x = numbers({0, 0, 3, 4}, {2, 2});
  EXPECT_THAT(values_of(norm(x, {1})), ElementsAre(0, 5));
  const auto [first, second] = two_orders(norm(x, {1}), x);
  EXPECT_THAT(first, ElementsAre(0, 0, testing::DoubleEq(0.6), testing::DoubleEq(0.8)));
  for (const double d : second) EXPECT_TRUE(std::isfinite(d));
  EXPECT_THAT(Vec(second.begin(), second.begin() + 2), Each(0.0));
}

TEST(Edges, TheNormOfHugeAndTinyNumbers) {
  EXPECT_DOUBLE_EQ(norm(numbers({3e200, 4e200}, {2})).item(), 5e200);
  EXPECT_DOUBLE_EQ(norm(numbers({3e-200, 4e-200}, {2})).item(), 5e-200);
  EXPECT_DOUBLE_EQ(norm(numbers({3, -inf}, {2})).item(), inf);
  EXPECT_TRUE(std::isnan(norm(numbers({3, nan}, {2})).item()));
}

TEST(Edges, TheCosineBesideAVectorOfLengthZero) {
  const Variable a = numbers({0, 0, 1e200, 1e200}, {2, 2}),
                 b = numbers({1, 2, 1e200, 1e200}, {2, 2});
  const Vec cosine = values_of(cosine_similarity(a, b));
  EXPECT_EQ(cosine[0], 0.0);
  EXPECT_DOUBLE_EQ(cosine[1], 1.0);
  for (const Variable& x : {a, b}) {
    const auto [first, second] = two_orders(cosine_similarity(a, b), x);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(first[i], 0.0);
      EXPECT_EQ(second[i], 0.0);
    }
  }
}

TEST(Edges, SoftplusFarFromZero) {
  EXPECT_THAT(values_of(softplus(numbers({-800, 0, 800, -inf, inf, nan}, {6}))),
              ElementsAre(0, std::log(2.0), 800, 0, inf, testing::IsNan()));
  EXPECT_THAT(values_of(log_sigmoid(numbers({-800, 800, -inf}, {3}))), ElementsAre(-800, 0, -inf));
}

TEST(Edges, ClampPassesTheGradientWithinItsEnds) {
  const Variable x = numbers({-1, 0, 0.5, 1, 2, nan, -inf, inf}, {8});
  const Variable y = clamp(x, 0, 1);
  EXPECT_THAT(values_of(y), ElementsAre(0, 0, 0.5, 1, 1, testing::IsNan(), 0, 1));
  EXPECT_THAT(values_of(grad(sum(y), {x})[0]), ElementsAre(0, 1, 1, 1, 0, 0, 0, 0));
}

TEST(Edges, EqualExtremesShareTheGradient) {
  const Variable x = numbers({1, 3, 3, 1, 2, 1}, {2, 3});
  EXPECT_THAT(values_of(grad(sum(max(x, 1)), {x})[0]), ElementsAre(0, 0.5, 0.5, 0, 1, 0));
  EXPECT_THAT(values_of(grad(sum(min(x, 1)), {x})[0]), ElementsAre(1, 0, 0, 0.5, 0, 0.5));
}

TEST(Edges, IntegersAreSummedAndComparedExactly) {
  const std::int64_t big = (std::int64_t{1} << 62) + 1;
  const Variable x(Tensor::from(std::vector<std::int64_t>{big, 1, -big, 2, 3, 4}, {2, 3}));
  const auto whole = [](const Variable& v) { return v.value().to_vector<std::int64_t>(); };
  EXPECT_THAT(whole(sum(x, {1})), ElementsAre(1, 9));
  EXPECT_THAT(whole(cumsum(x, 1)), ElementsAre(big, big + 1, 1, 2, 5, 9));
  EXPECT_THAT(whole(max(x, 1)), ElementsAre(big, 4));
  EXPECT_THAT(whole(min(x, 1)), ElementsAre(-big, 2));
  EXPECT_THAT(whole(gather(x, 1, argsort(x, 1))), ElementsAre(-big, 1, big, 2, 3, 4));
  EXPECT_THAT(whole(index_add(x, 1, index_pattern({3}, 1), 1)), ElementsAre(1, 9));
}

// The gradient of a layer's weights, whose sum over the rows is cut at fixed places.
TEST(Edges, ALongSumOfATransposedFactor) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Shape& rows : {Shape{2500}, Shape{2, 2500}, Shape{3, 1, 2048}}) {
      Shape left = rows, right = rows;
      left.push_back(5);
      right.push_back(7);
      const Variable a = cast(normal(left, {31, 0}, 0, 1, DType::f64), dtype);
      const Variable b = cast(normal(right, {31, 1}, 0, 1, DType::f64), dtype);
      const auto product = [](const Variable& x, const Variable& y) {
        return matmul(transpose(x, -2, -1), y);
      };
      const Variable got = product(a, b);
      const Variable want = product(cast(a, DType::f64), cast(b, DType::f64));
      ASSERT_EQ(got.dtype(), dtype);
      expect_close("product", Buffer(dtype, values_of(got)), Buffer(DType::f64, values_of(want)),
                   2500);
    }
}

TEST(Edges, ScatterAddRoundsSixteenBitSumsOnce) {
  // 256 ones in bf16: a running sum in bf16 would stop at 256, here and with an odd end.
  const Variable ones = full({1, 259}, 1.0, DType::bf16);
  const Variable index = cast(full({1, 259}, 0.0), DType::i64);
  EXPECT_EQ(
      scatter_add(full({1, 516}, 1.0, DType::bf16), 1, cast(full({1, 516}, 0.0), DType::i64), 1)
          .item(),
      516);
  EXPECT_EQ(scatter_add(ones, 1, index, 1).item(), 260);  // 259 is no bf16
}

}  // namespace
}  // namespace mettle::test
