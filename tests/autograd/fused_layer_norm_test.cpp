// Layer normalisation: rows of the table of fused operations, and what it refuses.
#include <gmock/gmock.h>

#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::HasSubstr;

FusedRow row(const char* name, Variables inputs, double eps = 1e-5) {
  return {name, std::move(inputs),
          [eps](In i) { return Variables{layer_norm(i[0], i[1], i[2], eps)}; },
          [eps](In i) { return Variables{reference::layer_norm(i[0], i[1], i[2], eps)}; }};
}

FusedRow transposed_row() {
  return {"layer_norm_strided",
          {random({4, 3, 2}, 1), random({3, 1}, 2), random({3}, 3)},
          [](In i) {
            return Variables{layer_norm(permute(i[0], {2, 0, 1}), squeeze(i[1], 1), i[2])};
          },
          [](In i) {
            return Variables{
                reference::layer_norm(permute(i[0], {2, 0, 1}), squeeze(i[1], 1), i[2], 1e-5)};
          }};
}

TEST(LayerNorm, RefusesWithNamesAndTheRemedy) {
  const Variable x = random({2, 3, 4}, 1), four = random({4}, 2), five = random({5}, 3);
  EXPECT_THAT(message_of<ShapeError>([&] { layer_norm(x, five, Variable()); }),
              AllOf(HasSubstr("layer_norm: gamma"), HasSubstr("(5,)"), HasSubstr("(2, 3, 4)"),
                    HasSubstr("[T, D]")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                layer_norm(x, Variable(), random({3, 4}, 4));
              }),
              AllOf(HasSubstr("layer_norm: beta"), HasSubstr("(3, 4)")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                layer_norm(x, random({2, 4}, 4), four);
              }),
              AllOf(HasSubstr("gamma"), HasSubstr("beta"), HasSubstr("expand()")));
  EXPECT_THAT(message_of<DTypeError>([&] { layer_norm(x, cast(four, DType::f32), four); }),
              AllOf(HasSubstr("layer_norm"), HasSubstr("cast()")));
  EXPECT_THAT(message_of<DTypeError>([&] { layer_norm(arange(4), Variable(), Variable()); }),
              HasSubstr("i64"));
  EXPECT_THAT(message_of<ShapeError>([&] { layer_norm(full({}, 1), Variable(), Variable()); }),
              HasSubstr("last axis"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                layer_norm(full({3, 0}, 1), Variable(), Variable());
              }),
              HasSubstr("(3, 0)"));
}

}  // namespace

std::vector<FusedRow> layer_norm_rows() {
  const Variable none;
  return {
      row("layer_norm", {random({3, 5}, 1), random({5}, 2), random({5}, 3)}),
      row("layer_norm_no_weights", {random({2, 2, 4}, 1), none, none}),
      row("layer_norm_gain_only", {random({3, 4}, 1), random({4}, 2), none}, 0.3),
      row("layer_norm_shift_only", {random({3, 4}, 1), none, random({4}, 2)}),
      row("layer_norm_per_task", {random({2, 3, 4}, 1), random({2, 4}, 2), random({2, 4}, 3)}),
      row("layer_norm_per_task_matrix", {random({3, 4}, 1), random({3, 4}, 2), random({3, 4}, 3)}),
      row("layer_norm_one_row", {random({7}, 1), random({7}, 2), random({7}, 3)}),
      row("layer_norm_one_column", {random({3, 1}, 1), random({1}, 2), random({1}, 3)}, 1.0),
      row("layer_norm_empty", {random({0, 4}, 1), random({4}, 2), random({4}, 3)}),
      transposed_row()};
}

}  // namespace mettle::test
