// What holds for every row of the table of operations, and that the table has a row for every
// operation of autograd/ops.h.
#include "autograd/ops.h"

#include <gmock/gmock.h>

#include <cctype>
#include <fstream>
#include <regex>
#include <set>

#include "tests/autograd/ops_table.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

/// Value and gradients.
Variables run(const OpRow& row, const Variables& inputs) {
  const NoGrad off;
  Variables results = row.f(inputs);
  const Variables dxs = vector_jacobian_product(row.f, inputs, cotangents_of(results));
  for (std::size_t i = 0; i < inputs.size(); ++i)  // null means zero
    results.push_back(dxs[i] ? dxs[i] : full_like(inputs[i], 0.0));
  return results;
}

void expect_near(const Variable& got, const Grid& want, double roundings, const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape) << what;
  const Vec values = got.value().to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(std::isfinite(values[i]), std::isfinite(want.values[i])) << what << " element " << i;
  if (values.empty() || !std::isfinite(values[0])) return;
  expect_close(what, Buffer(got.dtype(), values), Buffer(DType::f64, want.values), roundings);
}

class Operation : public testing::TestWithParam<OpRow> {};

TEST_P(Operation, EqualsTheOracleInEveryDType) {
  const OpRow& row = GetParam();
  for (const DType dtype : row.dtypes) {
    const Variables inputs = inputs_of(row, row.shapes, dtype);
    std::vector<Grid> grids;
    for (const Variable& x : inputs) grids.push_back(grid_of(x));
    const Variables ys = row.f(inputs);
    ASSERT_EQ(ys.size(), 1u);
    EXPECT_TRUE(ys[0].dtype() == dtype || ys[0].dtype() == DType::f32);
    expect_near(ys[0], row.oracle(grids), row.roundings, std::string(to_string(dtype)));
  }
}

TEST_P(Operation, FirstDerivative) {
  const auto report = gradcheck(GetParam().f, inputs_of(GetParam(), GetParam().shapes, DType::f64));
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, SecondDerivative) {
  const auto report =
      gradgradcheck(curved(GetParam().f), inputs_of(GetParam(), GetParam().shapes, DType::f64));
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, ThirdDerivative) {
  const Function f = curved(GetParam().f);
  Variables arguments = inputs_of(GetParam(), GetParam().shapes, DType::f64);
  const Variables dys = cotangents_of(f(arguments));
  arguments.insert(arguments.end(), dys.begin(), dys.end());
  const auto report = gradgradcheck(gradient_of(f, dys.size()), arguments);
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Operation, GradientsHaveTheInputsDTypeAndFollowTheWideOnes) {
  const OpRow& row = GetParam();
  for (const DType dtype : row.dtypes) {
    const Variables inputs = inputs_of(row, row.shapes, dtype);
    Variables wide;
    for (const Variable& x : inputs) wide.push_back(cast(x, DType::f64));
    const Variables got = run(row, inputs), want = run(row, wide);
    for (std::size_t i = 1; i < got.size(); ++i) {
      ASSERT_EQ(got[i].dtype(), dtype);
      // A rule rounds to the dtype after each of its operations, of which none has more than eight.
      const auto g = got[i].value().to_vector<double>(), w = want[i].value().to_vector<double>();
      double scale = 1;
      for (const double x : w) scale = std::max(scale, std::abs(x));
      for (std::size_t k = 0; k < g.size(); ++k)
        ASSERT_NEAR(g[k], w[k], 8 * rounding(dtype) * scale) << to_string(dtype) << " " << k;
    }
  }
}

TEST_P(Operation, TakesAnyStrides) {
  const OpRow& row = GetParam();
  const Variables dense = inputs_of(row, row.shapes, DType::f64);
  Variables views;
  for (const Variable& x : dense) {
    views.push_back(strided(x));
    EXPECT_EQ(views.back().value().is_contiguous(), x.rank() == 0 || x.numel() <= 1);
  }
  const Variables got = run(row, views), want = run(row, dense);
  for (std::size_t i = 0; i < got.size(); ++i)
    expect_near(got[i], grid_of(want[i]), row.roundings, "result " + std::to_string(i));
}

TEST_P(Operation, TakesNoElements) {
  const OpRow& row = GetParam();
  for (const DType dtype : row.dtypes) {
    const Variables inputs = inputs_of(row, row.empty, dtype);
    std::vector<Grid> grids;
    for (const Variable& x : inputs) grids.push_back(grid_of(x));
    ASSERT_TRUE(std::ranges::any_of(inputs, [](const Variable& x) { return x.numel() == 0; }));
    const Variables results = run(row, inputs);
    expect_near(results[0], row.oracle(grids), 0, std::string(to_string(dtype)));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      ASSERT_EQ(results[i + 1].shape(), inputs[i].shape());
      EXPECT_THAT(results[i + 1].value().to_vector<double>(), testing::Each(0.0));
    }
  }
}

TEST_P(Operation, SameBitsAgainAndWithAnyNumberOfThreads) {
  const OpRow& row = GetParam();
  const Variables inputs = inputs_of(row, row.large, DType::f32);
  const auto bits = [&] {
    std::vector<std::vector<float>> all;
    for (const Variable& v : run(row, inputs)) all.push_back(v.value().to_vector<float>());
    return all;
  };
  const auto once = bits();
  EXPECT_EQ(bits(), once);
  for (const int count : kThreadCounts) {
    const Threads threads(count);
    EXPECT_EQ(bits(), once) << count << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Operation, testing::ValuesIn(all_rows()), [](const auto& param) {
  return row_name(param.param.operation, param.param.variant);
});

/// The names of the functions that a header of the catalogue declares.
std::set<std::string> declared_in(const std::string& path) {
  std::ifstream file(std::string(METTLE_SOURCE_DIR) + "/" + path);
  const std::regex declaration(R"(^(?:inline )?[A-Z]\w* (operator.|\w+)\()");
  std::set<std::string> names;
  std::smatch match;
  for (std::string text; std::getline(file, text);)
    if (std::regex_search(text, match, declaration)) names.insert(match[1]);
  return names;
}

TEST(Table, HasARowForEveryOperation) {
  std::set<std::string> tested;
  for (const OpRow& row : all_rows()) tested.insert(row.operation);
  for (const SelectionRow& row : selection_rows()) tested.insert(row.operation);
  for (const SelectionRow& row : creation_rows()) tested.insert(row.operation);
  const std::set<std::string> declared = declared_in("autograd/ops.h");
  EXPECT_GT(declared.size(), 90u);
  for (const std::string& name : declared)
    EXPECT_TRUE(tested.contains(name)) << name << " of autograd/ops.h has no row";
  for (const std::string& name : tested)
    EXPECT_TRUE(declared.contains(name)) << name << " is not in autograd/ops.h";
}

TEST(Documentation, NamesEveryOperation) {
  std::ifstream file(std::string(METTLE_SOURCE_DIR) + "/docs/operations.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const char* header : {"autograd/ops.h", "autograd/fused.h"})
    for (const std::string& name : declared_in(header)) {
      if (name.starts_with("operator")) continue;
      EXPECT_NE(text.find("`" + name + "`"), std::string::npos)
          << name << " of " << header << " is not in docs/operations.md";
    }
}

}  // namespace
}  // namespace mettle::test
