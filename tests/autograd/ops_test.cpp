// One row per operation: first, second and third derivatives in f64, and equal values in the
// narrower types.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"

namespace mettle {
namespace {

struct Row {
  const char* name;
  std::vector<Shape> shapes;
  Function f;
  double low = 0.2, high = 1.2;  // range of the inputs, away from kinks and poles
  std::vector<DType> narrow = {DType::f32, DType::bf16, DType::f16};
};

/// A well-conditioned symmetric matrix made of any x.
Variable definite(const Variable& x) {
  return matmul(x, transpose(x, -2, -1)) + eye(x.size(-1), x.dtype());
}

std::vector<Row> rows() {
  using In = std::span<const Variable>;
  const std::vector<Shape> one{{2, 3}};
  const std::vector<Shape> pair{{2, 3}, {2, 3}};
  const std::vector<Shape> cross{{2, 1, 3}, {4, 1}};
  return {
      {"add", pair, [](In i) { return Variables{i[0] + i[1]}; }},
      {"add_broadcast", cross, [](In i) { return Variables{i[0] + i[1]}; }},
      {"sub_broadcast", cross, [](In i) { return Variables{i[0] - i[1]}; }},
      {"mul", pair, [](In i) { return Variables{i[0] * i[1]}; }},
      {"mul_broadcast", cross, [](In i) { return Variables{i[0] * i[1]}; }},
      {"mul_same", one, [](In i) { return Variables{i[0] * i[0]}; }},
      {"div_broadcast", cross, [](In i) { return Variables{i[0] / i[1]}; }},
      {"maximum", pair, [](In i) { return Variables{maximum(i[0], i[1] * 1.3)}; }},
      {"minimum", pair, [](In i) { return Variables{minimum(i[0], i[1] * 1.3)}; }},
      {"affine", one, [](In i) { return Variables{affine(i[0], -2.0, 0.5)}; }},
      {"abs", one, [](In i) { return Variables{abs(i[0]) * i[0]}; }, -1.3, -0.2},
      {"exp", one, [](In i) { return Variables{exp(i[0])}; }, -2, 2},
      {"log", one, [](In i) { return Variables{log(i[0])}; }},
      {"log1p", one, [](In i) { return Variables{log1p(i[0])}; }},
      {"sqrt", one, [](In i) { return Variables{sqrt(i[0])}; }},
      {"rsqrt", one, [](In i) { return Variables{rsqrt(i[0])}; }},
      {"reciprocal", one, [](In i) { return Variables{reciprocal(i[0])}; }},
      {"sin", one, [](In i) { return Variables{sin(i[0])}; }, -3, 3},
      {"cos", one, [](In i) { return Variables{cos(i[0])}; }, -3, 3},
      {"tanh", one, [](In i) { return Variables{tanh(i[0])}; }, -2, 2},
      {"sigmoid", one, [](In i) { return Variables{sigmoid(i[0])}; }, -4, 4},
      {"erf", one, [](In i) { return Variables{erf(i[0])}; }, -2, 2},
      {"relu", one, [](In i) { return Variables{relu(i[0]) * i[0]}; }},
      {"pow", one, [](In i) { return Variables{pow(i[0], 2.5)}; }},
      {"where", pair,
       [](In i) { return Variables{where(greater(i[0], i[1]), i[0] * i[0], i[1])}; }},
      {"reshape", one,
       [](In i) {
         return Variables{square(reshape(i[0], {3, -1}))};
       }},
      {"permute",
       {{2, 3, 4}},
       [](In i) {
         return Variables{square(permute(i[0], {2, 0, 1}))};
       }},
      {"reshape_of_permuted",
       {{2, 3, 4}},
       [](In i) {
         return Variables{square(reshape(permute(i[0], {2, 0, 1}), {8, 3}))};
       }},
      {"expand",
       {{3, 1}},
       [](In i) {
         return Variables{square(expand(i[0], {2, 3, 4}))};
       }},
      {"sum_to",
       {{2, 3, 4}},
       [](In i) {
         return Variables{square(sum_to(i[0], {3, 1}))};
       }},
      {"slice", {{5, 4}}, [](In i) { return Variables{square(slice(i[0], 0, 1, -1, 2))}; }},
      {"pad", {{2, 2}}, [](In i) { return Variables{square(pad(i[0], 1, 6, 1, 3))}; }},
      {"select", {{3, 4}}, [](In i) { return Variables{square(select(i[0], 1, -2))}; }},
      {"concat", {{2, 3}, {2, 1}}, [](In i) { return Variables{square(concat(i, 1))}; }},
      {"stack", pair, [](In i) { return Variables{square(stack(i, 1))}; }},
      {"sum",
       {{2, 3, 4}},
       [](In i) {
         return Variables{square(sum(i[0], {0, -1}))};
       }},
      {"sum_all", one, [](In i) { return Variables{square(sum(i[0]))}; }},
      {"mean", {{2, 3, 4}}, [](In i) { return Variables{square(mean(i[0], {1}, true))}; }},
      {"max", {{3, 5}}, [](In i) { return Variables{square(max(i[0], 1))}; }},
      {"min", {{3, 5}}, [](In i) { return Variables{square(min(i[0], 0))}; }},
      {"var",
       {{2, 3, 4}},
       [](In i) {
         return Variables{var(i[0], {0, 2}, false, 1.0)};
       }},
      {"norm",
       {{2, 3, 4}},
       [](In i) {
         return Variables{norm(i[0], {0, 2})};
       }},
      {"cosine_similarity",
       {{2, 1, 4}, {3, 4}},
       [](In i) { return Variables{cosine_similarity(i[0], i[1])}; }},
      {"logsumexp", {{3, 4}}, [](In i) { return Variables{logsumexp(i[0], 1)}; }, -3, 3},
      {"softmax", {{3, 4}}, [](In i) { return Variables{softmax(i[0], 0)}; }, -3, 3},
      {"log_softmax", {{3, 4}}, [](In i) { return Variables{log_softmax(i[0], -1)}; }, -3, 3},
      {"softplus", one, [](In i) { return Variables{softplus(i[0])}; }, -3, 3},
      {"log_sigmoid", one, [](In i) { return Variables{log_sigmoid(i[0])}; }, -3, 3},
      {"silu", one, [](In i) { return Variables{silu(i[0])}; }, -3, 3},
      {"clamp", one, [](In i) { return Variables{clamp(i[0], 0.4, 0.8) * i[0]}; }},
      {"matmul", {{3, 4}, {4, 2}}, [](In i) { return Variables{matmul(i[0], i[1])}; }},
      {"matmul_batch", {{2, 3, 4}, {2, 4, 2}}, [](In i) { return Variables{matmul(i[0], i[1])}; }},
      {"matmul_shared", {{2, 3, 4}, {4, 2}}, [](In i) { return Variables{matmul(i[0], i[1])}; }},
      {"matmul_broadcast",
       {{2, 1, 3, 4}, {5, 4, 2}},
       [](In i) { return Variables{matmul(i[0], i[1])}; }},
      {"matmul_strided",
       {{4, 3}, {2, 4}},
       [](In i) { return Variables{matmul(transpose(i[0], 0, 1), transpose(i[1], 0, 1))}; }},
      {"tril", {{2, 3, 4}}, [](In i) { return Variables{square(tril(i[0], 1))}; }},
      {"triu", {{4, 3}}, [](In i) { return Variables{square(triu(i[0], -1))}; }},
      {"cholesky",
       {{2, 3, 3}},
       [](In i) { return Variables{cholesky(definite(i[0]))}; },
       0.2,
       1.2,
       {DType::f32}},
      {"cholesky_of_any",
       {{3, 3}},
       [](In i) { return Variables{cholesky(i[0] + eye(3, i[0].dtype()) * 3.0)}; },
       0.2,
       1.2,
       {DType::f32}},
      {"triangular_solve",
       {{3, 3}, {3, 2}},
       [](In i) { return Variables{triangular_solve(i[0], i[1])}; },
       0.2,
       1.2,
       {DType::f32}},
      {"triangular_solve_upper",
       {{2, 3, 3}, {5, 1, 3, 2}},
       [](In i) { return Variables{triangular_solve(i[0], i[1], Triangle::upper)}; },
       0.2,
       1.2,
       {DType::f32}},
      {"triangular_solve_shared",
       {{3, 3}, {2, 3, 1}},
       [](In i) {
         return Variables{triangular_solve(transpose(i[0], 0, 1), i[1], Triangle::upper)};
       },
       0.2,
       1.2,
       {DType::f32}},
      {"cholesky_solve",
       {{2, 3, 3}, {2, 3, 2}},
       [](In i) { return Variables{cholesky_solve(cholesky(definite(i[0])), i[1])}; },
       0.2,
       1.2,
       {DType::f32}},
  };
}

Variables inputs_of(const Row& row, DType dtype) {
  Generator generator(11);
  Variables inputs;
  for (const Shape& shape : row.shapes)
    inputs.push_back(
        cast(uniform(shape, generator.next_key(), row.low, row.high, DType::f64), dtype));
  return inputs;
}

class Operation : public testing::TestWithParam<Row> {};

TEST_P(Operation, FirstDerivative) {
  const auto report = gradcheck(GetParam().f, inputs_of(GetParam(), DType::f64));
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, SecondDerivative) {
  const auto report = gradgradcheck(GetParam().f, inputs_of(GetParam(), DType::f64));
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, ThirdDerivative) {
  const Variables inputs = inputs_of(GetParam(), DType::f64);
  Variables arguments = inputs;
  for (const Variable& y : GetParam().f(inputs))
    arguments.push_back(uniform(y.shape(), {3, 4}, 0, 1, DType::f64));
  const auto report =
      gradgradcheck(gradient_of(GetParam().f, arguments.size() - inputs.size()), arguments);
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, NarrowTypesRoundTheWideResult) {
  const Row& row = GetParam();
  for (const DType dtype : row.narrow) {
    const Variables narrow = inputs_of(row, dtype);
    Variables wide;
    for (const Variable& x : narrow) wide.push_back(cast(x, DType::f64));
    const Variables y = row.f(narrow), want = row.f(wide);
    const double tolerance = dtype == DType::f32 ? 1e-5 : dtype == DType::bf16 ? 4e-2 : 5e-3;
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(y[i].dtype(), dtype);
      ASSERT_EQ(y[i].shape(), want[i].shape());
      const auto got = y[i].value().to_vector<double>(),
                 expected = want[i].value().to_vector<double>();
      for (std::size_t j = 0; j < got.size(); ++j)
        EXPECT_NEAR(got[j], expected[j], tolerance * (1 + std::abs(expected[j])))
            << to_string(dtype);
    }
  }
}

std::string row_name(const testing::TestParamInfo<Row>& row) { return row.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, Operation, testing::ValuesIn(rows()), row_name);

}  // namespace
}  // namespace mettle
