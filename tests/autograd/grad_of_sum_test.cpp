// grad_of_sum against the gradient of the sum itself, and what it refuses.
#include "autograd/grad_of_sum.h"

#include <gmock/gmock.h>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "engine/check.h"
#include "engine/parallel.h"
#include "tests/autograd/message_of.h"

namespace mettle::test {
namespace {

struct Parts {
  Variable w = normal({5, 3}, {1, 2}, 0.0, 1.0, DType::f64).detach_requires_grad();
  Variable unused = full({2}, 1.0, DType::f64).detach_requires_grad();
  Variable operator()(std::int64_t i) const {
    return sum(tanh(w * static_cast<double>(i + 1))) * (i % 2 == 0 ? 1.0 : 0.5);
  }
};

class GradOfSumThreads : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(before_); }

 private:
  const int before_ = threads();
};

TEST_P(GradOfSumThreads, IsTheGradientOfTheSum) {
  const Parts parts;
  for (const std::int64_t count : {1, 2, 7}) {
    Variable whole = parts(0);
    for (std::int64_t i = 1; i < count; ++i) whole = whole + parts(i);
    const Variable expected = grad(whole, {parts.w})[0];
    const NoGrad off;  // the parts are recorded all the same
    const SumGradient result = grad_of_sum(count, parts, Variables{parts.w, parts.unused});
    EXPECT_NEAR(result.sum.item(), whole.item(), 1e-13);
    EXPECT_FALSE(result.sum.requires_grad());
    EXPECT_LT(sum(abs(result.gradients[0] - expected)).item(), 1e-13);
    EXPECT_FALSE(result.gradients[1].defined());
  }
}

TEST_P(GradOfSumThreads, APartOfSeveralNumbersIsRefused) {
  const Parts parts;
  const auto wrong = [&](std::int64_t i) { return i == 1 ? parts.w * 2.0 : parts(i); };
  EXPECT_THAT(
      message_of<ShapeError>([&] { grad_of_sum(3, wrong, Variables{parts.w}); }),
      testing::AllOf(testing::HasSubstr("part 1 has shape"), testing::HasSubstr("reduce it")));
}

TEST_P(GradOfSumThreads, WhatAPartThrowsArrives) {
  const Parts parts;
  const auto fails = [&](std::int64_t i) -> Variable {
    METTLE_CHECK(ValueError, i != 2, "task {} is damaged", i);
    return parts(i);
  };
  EXPECT_THAT(message_of<ValueError>([&] { grad_of_sum(4, fails, Variables{parts.w}); }),
              testing::HasSubstr("task 2 is damaged"));
}

INSTANTIATE_TEST_SUITE_P(Threads, GradOfSumThreads, testing::Values(1, 2, 5, 8));

TEST(GradOfSum, NoPartsAreRefused) {
  const Parts parts;
  EXPECT_THAT(message_of<ValueError>([&] { grad_of_sum(0, parts, Variables{parts.w}); }),
              testing::HasSubstr("there must be one at least"));
}

}  // namespace
}  // namespace mettle::test
