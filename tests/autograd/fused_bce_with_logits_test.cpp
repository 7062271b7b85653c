// Binary cross-entropy of logits: rows of the table of fused operations, and what it refuses.
#include <gmock/gmock.h>

#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::HasSubstr;

Variable fractions(const Shape& shape) { return uniform(shape, {5, 6}, 0.0, 1.0, DType::f64); }

FusedRow row(const std::string& name, Variables inputs, Reduction reduction,
             double pos_weight = 1.0) {
  return {name,
          std::move(inputs),
          [=](In i) {
            return Variables{bce_with_logits(i[0], i[1], {i[2], pos_weight, reduction})};
          },
          [=](In i) {
            return Variables{reference::bce_with_logits(i[0], i[1], {i[2], pos_weight, reduction})};
          },
          64,
          {2}};
}

FusedRow strided_row() {
  const auto of = [](auto f) {
    return [f](In i) { return Variables{f(transpose(i[0], 0, 1), i[1], BceOptions{})}; };
  };
  return {"bce_strided",
          {random({3, 2}, 1), fractions({2, 3})},
          of(bce_with_logits),
          of(reference::bce_with_logits)};
}

TEST(BceWithLogits, RefusesWithNamesAndTheRemedy) {
  const Variable x = random({2, 3}, 1), t = fractions({2, 3});
  EXPECT_THAT(message_of<ShapeError>([&] { bce_with_logits(x, fractions({3})); }),
              AllOf(HasSubstr("bce_with_logits"), HasSubstr("(2, 3)"), HasSubstr("(3,)"),
                    HasSubstr("expand()")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                bce_with_logits(x, t, {.weight = random({4, 2, 3}, 2)});
              }),
              AllOf(HasSubstr("weight"), HasSubstr("(4, 2, 3)")));
  EXPECT_THAT(message_of<DTypeError>([&] { bce_with_logits(x, cast(t, DType::f32)); }),
              HasSubstr("cast()"));
  EXPECT_THAT(message_of<DTypeError>([&] { bce_with_logits(arange(3), arange(3)); }),
              HasSubstr("i64"));
  EXPECT_THAT(message_of<AutogradError>([&] {
                bce_with_logits(x, t, {.weight = random({3}, 2).detach_requires_grad()});
              }),
              AllOf(HasSubstr("weight"), HasSubstr("Reduction::none")));
}

TEST(BceWithLogits, LogitsOfZeroHaveEveryDerivative) {
  // softplus'(0) = 1/2, softplus''(0) = 1/4, softplus'''(0) = 0, softplus''''(0) = -1/8.
  Variable x(Tensor::from<double>(std::vector<double>{0.0}, {1}), true);
  Variable y = bce_with_logits(x, full_like(x, 0.0), {.reduction = Reduction::sum});
  for (const double expected : {0.5, 0.25, 0.0, -0.125}) {
    y = sum(grad(y, {x}, {.create_graph = true})[0]);
    EXPECT_NEAR(y.item(), expected, 1e-15);
  }
}

TEST(BceWithLogits, TheMeanOfNothingIsNaN) {
  EXPECT_TRUE(std::isnan(bce_with_logits(random({0}, 1), random({0}, 2)).item()));
  EXPECT_EQ(bce_with_logits(random({0}, 1), random({0}, 2), {.reduction = Reduction::sum}).item(),
            0);
}

}  // namespace

std::vector<FusedRow> bce_with_logits_rows() {
  std::vector<FusedRow> rows{strided_row()};
  const Variable none;
  for (const auto& [reduction, suffix] : {std::pair(Reduction::none, "_none"),
                                          {Reduction::mean, "_mean"},
                                          {Reduction::sum, "_sum"}}) {
    const auto named = [s = suffix](const char* name) { return std::string(name) + s; };
    const Variable x = random({3, 4}, 1, 2.0), t = fractions({3, 4});
    rows.push_back(row(named("bce"), {x, t, none}, reduction));
    rows.push_back(row(named("bce_weight"), {x, t, fractions({3, 4})}, reduction));
    rows.push_back(row(named("bce_weight_broadcast"), {x, t, fractions({3, 1})}, reduction));
    rows.push_back(row(named("bce_pos_weight"), {x, t, fractions({4})}, reduction, 2.5));
    rows.push_back(row(named("bce_scalar"), {random({}, 1), fractions({}), none}, reduction));
  }
  rows.push_back(row("bce_empty", {random({0, 2}, 1), random({0, 2}, 2), none}, Reduction::sum));
  rows.push_back(
      row("bce_large_logits", {random({9}, 1, 300.0), fractions({9}), none}, Reduction::none));
  return rows;
}

}  // namespace mettle::test
