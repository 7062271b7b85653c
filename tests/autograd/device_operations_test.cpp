// The table of operations on a device: values and gradients of the first three orders are those of
// the CPU, which ops_test.cpp holds against the oracles and against numeric derivatives. The rules
// are the same code on every device; what differs are the kernels that they call.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

Variables on_device(const Variables& xs) {
  Variables moved;
  for (const Variable& x : xs) moved.push_back(x ? to(x, device_under_test()) : x);
  return moved;
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

INSTANTIATE_TEST_SUITE_P(Table, DeviceOperation, testing::ValuesIn(all_rows()),
                         [](const auto& param) {
                           return row_name(param.param.operation, param.param.variant);
                         });

class DeviceSelection : public testing::TestWithParam<SelectionRow> {};

TEST_P(DeviceSelection, EqualsTheCpu) {
  const SelectionRow& row = GetParam();
  for (const DType dtype : row.dtypes)
    for (const Shapes& shapes : {row.shapes, row.empty})
      expect_same_on_device({row.f, inputs_of(row, shapes, dtype)}, 4,
                            std::string(to_string(dtype)));
}

INSTANTIATE_TEST_SUITE_P(Table, DeviceSelection, testing::ValuesIn(all_selection_rows()),
                         [](const auto& param) {
                           return row_name(param.param.operation, param.param.variant);
                         });

}  // namespace
}  // namespace mettle::test
