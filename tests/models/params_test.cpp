// The list of parameters: order, independence of copies, refusals.
#include "models/params.h"

#include <gmock/gmock.h>

#include "autograd/ops.h"
#include "tests/autograd/message_of.h"

namespace mettle::test {
namespace {

Variable number(double value) { return Variable(full({}, value, DType::f64).value(), true); }

Params three() {
  Params p;
  p.add("b.weight", number(1));
  p.add("a.weight", number(2));
  p.add("a.bias", number(3));
  return p;
}

TEST(Params, KeepsTheOrderOfAddition) {
  const Params p = three();
  EXPECT_THAT(p.names(), testing::ElementsAre("b.weight", "a.weight", "a.bias"));
  EXPECT_EQ(p["a.bias"].item(), 3);
  EXPECT_EQ(p.position("a.weight"), 1u);
  EXPECT_EQ(p.numel(), 3);
  EXPECT_TRUE(p.contains("a.bias"));
  EXPECT_FALSE(p.contains("a"));
}

TEST(Params, CopiesAreIndependentLists) {
  Params p = three();
  const Params before = p;
  p.add("c", number(4));
  EXPECT_EQ(before.size(), 3u);
  EXPECT_FALSE(before.contains("c"));
  EXPECT_EQ(p["c"].item(), 4);
}

TEST(Params, SelectAndReplacedByAreInverse) {
  const Params p = three();
  const Params weights = p.select([](std::string_view name) { return name.ends_with("weight"); });
  EXPECT_THAT(weights.names(), testing::ElementsAre("b.weight", "a.weight"));
  const Params moved = p.replaced_by(weights.with_values({number(10), number(20)}));
  EXPECT_EQ(moved["b.weight"].item(), 10);
  EXPECT_EQ(moved["a.weight"].item(), 20);
  EXPECT_EQ(moved["a.bias"].item(), 3);
  EXPECT_EQ(p["b.weight"].item(), 1);
}

TEST(Params, TrainableCopySharesNoMemory) {
  const Params p = three();
  const Params copy = p.trainable_copy();
  *copy["a.bias"].value().data<double>() = 7;
  EXPECT_EQ(p["a.bias"].item(), 3);
  EXPECT_TRUE(copy["a.bias"].requires_grad());
  const Params cut = p.detached();
  EXPECT_FALSE(cut["a.bias"].requires_grad());
  EXPECT_EQ(cut["a.bias"].value().data(), p["a.bias"].value().data());
}

TEST(Params, RefusalsNameTheParameter) {
  Params p = three();
  EXPECT_THAT(message_of<ValueError>([&] { p.add("a.bias", number(0)); }),
              testing::HasSubstr("a parameter 'a.bias' already"));
  EXPECT_THAT(message_of<ValueError>([&] { p.add("c", Variable()); }),
              testing::HasSubstr("'c' is null"));
  EXPECT_THAT(message_of<ValueError>([&] { p["encoder.bias"]; }),
              testing::AllOf(testing::HasSubstr("no parameter 'encoder.bias'"),
                             testing::HasSubstr("there are: a.bias")));
  EXPECT_THAT(message_of<ShapeError>([&] { p.with_values({number(1)}); }),
              testing::HasSubstr("1 values for 3 names"));
  Params other;
  other.add("c", number(1));
  EXPECT_THAT(message_of<ValueError>([&] { p.replaced_by(other); }),
              testing::HasSubstr("no parameter 'c'"));
  EXPECT_THAT(message_of<ValueError>([&] { Params()["x"]; }),
              testing::HasSubstr("no parameters at all"));
}

}  // namespace
}  // namespace mettle::test
