// What holds for every operation outside of differentiation: exact results, whatever the dtype, the
// strides and the threads.
#include <gtest/gtest.h>

#include "tests/autograd/ops_table.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

void expect_same(const Variable& got, const Grid& want, double units = 0) {
  ASSERT_EQ(got.shape(), want.shape);
  EXPECT_FALSE(got.requires_grad());
  const Vec values = got.value().to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_TRUE(values[i] == want.values[i] ||
                std::abs(values[i] - want.values[i]) <=
                    units * 0x1p-52 * std::max(1.0, std::abs(want.values[i])) ||
                (std::isnan(values[i]) && std::isnan(want.values[i])))
        << "element " << i << ": " << values[i] << " instead of " << want.values[i];
}

class Selection : public testing::TestWithParam<SelectionRow> {};

TEST_P(Selection, EqualsTheOracle) {
  for (const DType dtype : GetParam().dtypes)
    for (const Shapes& shapes : {GetParam().shapes, GetParam().empty}) {
      SCOPED_TRACE(to_string(dtype));
      const Variables inputs = inputs_of(GetParam(), shapes, dtype);
      std::vector<Grid> grids;
      for (const Variable& x : inputs) grids.push_back(grid_of(x));
      expect_same(GetParam().f(inputs)[0], GetParam().oracle(grids), GetParam().units);
    }
}

TEST_P(Selection, TakesAnyStridesAndVariablesOfTheGraph) {
  const DType dtype = GetParam().dtypes[0];
  const Variables dense = inputs_of(GetParam(), GetParam().shapes, dtype);
  Variables views;
  for (const Variable& x : dense) {
    // Columns of a matrix that is twice as wide.
    const Variable turned = contiguous(transpose(x, 0, -1));
    const Variable parts[] = {turned, turned};
    const Variable view = transpose(slice(concat(parts, 0), 0, 0, turned.size(0)), 0, -1);
    views.push_back(is_floating(dtype) ? view.detach_requires_grad() : view);
  }
  expect_same(GetParam().f(views)[0], grid_of(GetParam().f(dense)[0]));
}

TEST_P(Selection, SameBitsAgainAndWithAnyNumberOfThreads) {
  const Variables inputs = inputs_of(GetParam(), GetParam().large, GetParam().dtypes[0]);
  const Grid once = grid_of(GetParam().f(inputs)[0]);
  for (const int count : kThreadCounts) {
    const Threads threads(count);
    expect_same(GetParam().f(inputs)[0], once);
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Selection, testing::ValuesIn(all_selection_rows()),
                         [](const auto& param) {
                           return row_name(param.param.operation, param.param.variant);
                         });

}  // namespace
}  // namespace mettle::test
