// The table of operations on a device: values and gradients of the first three orders are those of
// the CPU, which ops_test.cpp holds against the oracles and against numeric derivatives. The rules
// are the same code on every device; what differs are the kernels that they call.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

std::vector<OpRow> all_rows() {
  std::vector<OpRow> all;
  for (const auto& family : {elementwise_rows(), layout_rows(), indexing_rows(), reduction_rows(),
                             loss_rows(), linalg_rows()})
    all.insert(all.end(), family.begin(), family.end());
  return all;
}

std::vector<SelectionRow> all_selection_rows() {
  std::vector<SelectionRow> all = selection_rows();
  const auto creation = creation_rows();
  all.insert(all.end(), creation.begin(), creation.end());
  return all;
}

Variables on_device(const Variables& xs) {
  Variables moved;
  for (const Variable& x : xs) moved.push_back(x ? to(x, device_under_test()) : x);
  return moved;
}

Variables inputs_of(const OpRow& row, const Shapes& shapes, DType dtype) {
  Variables inputs;
  for (const Shape& shape : shapes)
    inputs.push_back(
        cast(uniform(shape, {11, inputs.size()}, row.low, row.high, DType::f64), dtype));
  return inputs;
}

Variables cotangents_of(const Variables& ys) {
  Variables dys;
  for (const Variable& y : ys)
    dys.push_back(is_floating(y.dtype())
                      ? cast(normal(y.shape(), {12, dys.size()}, 0, 1, DType::f64), y.dtype())
                      : Variable());
  return dys;
}

Variable strided(const Variable& x) {
  if (x.rank() == 0) return x;
  std::vector<int> reversed;
  for (int axis = x.rank() - 1; axis >= 0; --axis) reversed.push_back(axis);
  const std::int64_t n = x.size(0);
  return permute(slice(pad(permute(x, reversed), -1, 2 * n, 0, 2), -1, 0, 2 * n, 2), reversed);
}

// A function of `outputs` outputs whose gradient is wanted, and where it is wanted.
struct Problem {
  Function f;
  Variables arguments;
};

/// The gradient of the problem as a problem of its own: one order higher.
Problem gradient_problem(const Problem& p) {
  const NoGrad off;
  const Variables ys = p.f(p.arguments);
  Variables arguments = p.arguments;
  for (const Variable& dy : cotangents_of(ys)) arguments.push_back(dy);
  return {gradient_of(p.f, ys.size()), arguments};
}

/// A linear operation has no second derivative; this function of its results has.
Function curved(const Function& f) {
  return [f](std::span<const Variable> x) {
    Variables ys = f(x);
    for (Variable& y : ys) y = add(y, mul(y, y));
    return ys;
  };
}

void expect_equal(const Variable& got, const Variable& want, double roundings,
                  const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape()) << what;
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  const Vec g = got.value().to_vector<double>(), w = want.value().to_vector<double>();
  double scale = 1;
  for (const double x : w)
    if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
  // Each rule rounds to the dtype after each of its operations.
  const double tolerance =
      is_floating(got.dtype())
          ? scale * (roundings * rounding(statistics_dtype(got.dtype())) +
                     (size_of(got.dtype()) == 2 ? 8 * rounding(got.dtype()) : 0))
          : 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (std::isfinite(w[i])) {
      ASSERT_NEAR(g[i], w[i], tolerance) << what << " " << to_string(got.dtype()) << " " << i;
    } else {
      ASSERT_EQ(std::isnan(g[i]), std::isnan(w[i])) << what << " " << i;
      if (!std::isnan(w[i])) {
        ASSERT_EQ(g[i], w[i]) << what << " " << i;
      }
    }
  }
}

void expect_same_on_device(const Problem& p, double roundings, const std::string& what) {
  const NoGrad off;
  const Variables got = p.f(on_device(p.arguments));
  const OnCpu on_cpu;
  const Variables want = p.f(p.arguments);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    expect_equal(got[i], want[i], roundings, what + ", result " + std::to_string(i));
}

class DeviceOperation : public testing::TestWithParam<OpRow> {
 protected:
  const OpRow& row = GetParam();
  // Orders of derivatives multiply the roundings by the operations of their rules.
  Problem problem(const Shapes& shapes, DType dtype) const {
    const OnCpu on_cpu;
    return {row.f, inputs_of(row, shapes, dtype)};
  }
};

TEST_P(DeviceOperation, ValueAndGradientInEveryDType) {
  for (const DType dtype : row.dtypes) {
    const Problem value = problem(row.shapes, dtype);
    expect_same_on_device(value, 4 * row.roundings, "value");
    const auto gradient = [&] {
      const OnCpu on_cpu;
      return gradient_problem(value);
    }();
    expect_same_on_device(gradient, 16 * row.roundings, "gradient");
  }
}

TEST_P(DeviceOperation, SecondAndThirdOrder) {
  const auto higher = [&](int order) {
    const OnCpu on_cpu;
    Problem p = problem(row.shapes, DType::f64);
    p.f = curved(p.f);
    for (int i = 0; i < order; ++i) p = gradient_problem(p);
    return p;
  };
  expect_same_on_device(higher(2), 1000 * row.roundings, "second order");
  expect_same_on_device(higher(3), 10000 * row.roundings, "third order");
}

TEST_P(DeviceOperation, TakesAnyStrides) {
  const Problem dense = problem(row.shapes, DType::f32);
  Problem views = dense;
  {
    const OnCpu on_cpu;
    for (Variable& x : views.arguments) x = strided(x);
  }
  expect_same_on_device(views, 4 * row.roundings, "value of views");
}

TEST_P(DeviceOperation, TakesNoElements) {
  for (const DType dtype : row.dtypes) {
    const Problem value = problem(row.empty, dtype);
    expect_same_on_device(value, 0, "value");
    const auto gradient = [&] {
      const OnCpu on_cpu;
      return gradient_problem(value);
    }();
    expect_same_on_device(gradient, 0, "gradient");
  }
}

std::string row_name(const std::string& operation, const std::string& variant) {
  std::string name = operation;
  if (name.starts_with("operator")) {
    const char symbols[] = {'+', '-', '*', '/'};
    const char* names[] = {"plus", "minus", "times", "over"};
    name = names[std::ranges::find(symbols, name.back()) - symbols];
  }
  return name + (variant.empty() ? "" : "_" + variant);
}

INSTANTIATE_TEST_SUITE_P(Table, DeviceOperation, testing::ValuesIn(all_rows()),
                         [](const auto& param) {
                           return row_name(param.param.operation, param.param.variant);
                         });

class DeviceSelection : public testing::TestWithParam<SelectionRow> {};

TEST_P(DeviceSelection, EqualsTheCpu) {
  const SelectionRow& row = GetParam();
  for (const DType dtype : row.dtypes)
    for (const Shapes* shapes : {&row.shapes, &row.empty}) {
      Problem p{row.f, {}};
      std::size_t at = 0;
      for (const Shape& shape : *shapes) {
        Vec values(static_cast<std::size_t>(numel(shape)));
        for (double& x : values) {
          x = row.pool[at++ % row.pool.size()];
          if (!is_floating(dtype) && !std::isfinite(x)) x = 1;
          if (dtype == DType::u8) x = std::abs(x);
        }
        p.arguments.push_back(cast(Variable(Tensor::from(values, shape)), dtype));
      }
      expect_same_on_device(p, 4, std::string(to_string(dtype)));
    }
}

INSTANTIATE_TEST_SUITE_P(Table, DeviceSelection, testing::ValuesIn(all_selection_rows()),
                         [](const auto& param) {
                           return row_name(param.param.operation, param.param.variant);
                         });

}  // namespace
}  // namespace mettle::test
