// GELU with and without bias and of a linear layer: rows of the table of fused operations, and what
// it refuses.
#include <gmock/gmock.h>

#include "autograd/node.h"
#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::HasSubstr;

FusedRow row(std::string name, Variables inputs, GeluForm form) {
  return {std::move(name), std::move(inputs),
          [form](In i) { return Variables{bias_gelu(i[0], i[1], form)}; },
          [form](In i) { return Variables{reference::bias_gelu(i[0], i[1], form)}; }};
}

FusedRow strided_row() {
  const auto of = [](auto f) {
    return [f](In i) {
      return Variables{f(transpose(i[0], 0, 1), slice(i[1], 0, 1, to_end, 2), GeluForm::erf)};
    };
  };
  return {"bias_gelu_strided",
          {random({3, 4}, 1), random({6}, 2)},
          of(bias_gelu),
          of(reference::bias_gelu)};
}

FusedRow linear_row(const std::string& name, Variables inputs, GeluForm form) {
  return {name + (form == GeluForm::erf ? "_erf" : "_tanh"), std::move(inputs),
          [form](In i) { return Variables{linear_gelu(i[0], i[1], i[2], form)}; },
          [form](In i) {
            return Variables{reference::bias_gelu(linear(i[0], i[1], i[2]), Variable(), form)};
          }};
}

TEST(BiasGelu, OfALinearLayerIsTwoNodesAndHasTheSameBitsWithoutThem) {
  const Variable x = random({3, 4}, 1), w = random({4, 5}, 2), b = random({5}, 3);
  const Variable leaf = w.detach_requires_grad();
  EXPECT_FALSE(linear_gelu(x, w, b).requires_grad());
  const std::size_t before = Node::live_count();
  const Variable y = linear_gelu(x, leaf, b);
  EXPECT_EQ(Node::live_count() - before, 3u);  // and the leaf's
  EXPECT_EQ(y.value().to_vector<double>(), linear_gelu(x, w, b).value().to_vector<double>());
}

TEST(BiasGelu, RefusesWithNamesAndTheRemedy) {
  const Variable x = random({2, 3, 4}, 1);
  EXPECT_THAT(message_of<ShapeError>([&] { bias_gelu(x, random({3}, 2)); }),
              AllOf(HasSubstr("bias_gelu: bias"), HasSubstr("(3,)"), HasSubstr("(2, 3, 4)"),
                    HasSubstr("[T, D]")));
  EXPECT_THAT(message_of<ShapeError>([&] { bias_gelu(full({}, 1), full({1}, 1)); }),
              HasSubstr("last axis"));
  EXPECT_THAT(message_of<DTypeError>([&] { bias_gelu(x, full({4}, 1)); }), HasSubstr("cast()"));
  EXPECT_THAT(message_of<DTypeError>([&] { gelu(arange(3)); }), HasSubstr("i64"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                linear_gelu(x, random({3, 4}, 1), Variable());
              }),
              AllOf(HasSubstr("linear_gelu: weight of shape (3, 4)"), HasSubstr("(2, 3, 4)"),
                    HasSubstr("(in, out)")));
}

}  // namespace

std::vector<FusedRow> bias_gelu_rows() {
  std::vector<FusedRow> rows{strided_row()};
  const auto add = [&](const char* name, const Variable& x, const Variable& bias) {
    rows.push_back(row(name + std::string("_erf"), {x, bias}, GeluForm::erf));
    rows.push_back(row(name + std::string("_tanh"), {x, bias}, GeluForm::tanh));
  };
  add("gelu", random({3, 4}, 1, 2.0), Variable());
  add("gelu_scalar", random({}, 1), Variable());
  add("bias_gelu", random({2, 3, 5}, 1), random({5}, 2));
  add("bias_gelu_per_task", random({2, 3, 2}, 1), random({2, 2}, 2));
  add("bias_gelu_empty", random({0, 3}, 1), random({3}, 2));
  add("bias_gelu_no_columns", random({2, 0}, 1), random({0}, 2));
  for (const GeluForm form : {GeluForm::erf, GeluForm::tanh}) {
    const auto layer = [&](const char* name, const Variable& x, const Variable& weight,
                           const Variable& bias) {
      rows.push_back(linear_row(name, {x, weight, bias}, form));
      rows.back().parts = 4;  // roundings of products on the way to one gradient
    };
    layer("linear_gelu", random({2, 3, 4}, 1), random({4, 5}, 2, 0.5), random({5}, 3));
    layer("linear_gelu_no_bias", random({3, 4}, 1), random({4, 5}, 2, 0.5), Variable());
    layer("linear_gelu_tasks", random({2, 3, 4}, 1), random({2, 4, 5}, 2, 0.5), random({2, 5}, 3));
    layer("linear_gelu_task_biases", random({2, 3, 4}, 1), random({4, 5}, 2, 0.5),
          random({2, 5}, 3));
    layer("linear_gelu_empty", random({0, 4}, 1), random({4, 5}, 2), random({5}, 3));
    layer("linear_gelu_nothing_to_sum", random({2, 0}, 1), random({0, 5}, 2), random({5}, 3));
  }
  return rows;
}

}  // namespace mettle::test
