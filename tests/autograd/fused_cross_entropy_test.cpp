// Softmax cross-entropy of logits and of a linear layer: rows of the table of fused operations,
// what they refuse, and the memory that the chunked form keeps to.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "engine/allocator.h"
#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

Variable targets(const Shape& shape, const std::vector<std::int64_t>& classes) {
  return Variable(Tensor::from(classes, shape));
}

FusedRow row(const std::string& name, Variables inputs, const CrossEntropyOptions& options) {
  return {name, std::move(inputs),
          [=](In i) { return Variables{cross_entropy(i[0], i[1], options)}; },
          [=](In i) { return Variables{reference::cross_entropy(i[0], i[1], options)}; }};
}

FusedRow linear_row(const std::string& name, Variables inputs, const CrossEntropyOptions& options) {
  return {name, std::move(inputs),
          [=](In i) { return Variables{linear_cross_entropy(i[0], i[1], i[2], i[3], options)}; },
          [=](In i) {
            return Variables{reference::linear_cross_entropy(i[0], i[1], i[2], i[3], options)};
          }};
}

FusedRow strided_row() {
  const auto of = [](auto f) {
    return [f](In i) {
      return Variables{
          f(transpose(i[0], 0, 1), slice(i[1], 0, 0, to_end, 2), CrossEntropyOptions{})};
    };
  };
  return {"cross_entropy_strided",
          {random({4, 3}, 1), targets({6}, {0, 9, 3, 9, 1, 9})},
          of(cross_entropy),
          of(reference::cross_entropy)};
}

FusedRow linear_strided_row() {
  const auto of = [](auto f) {
    return [f](In i) {
      return Variables{f(transpose(i[0], 0, 1), transpose(i[1], 0, 1), Variable(), i[2],
                         CrossEntropyOptions{.chunk_rows = 2})};
    };
  };
  return {"linear_cross_entropy_strided",
          {random({2, 3}, 1), random({2, 4}, 2), targets({3}, {0, 3, 1})},
          of(linear_cross_entropy),
          of(reference::linear_cross_entropy)};
}

// ------------------------------------------------------------------------------------- closed form

// Logits of zero: loss log(C), gradient 1/C - [target], second derivative p (1 - p).
TEST(CrossEntropy, UniformLogits) {
  Variable z = full({1, 4}, 0.0, DType::f64).detach_requires_grad();
  const Variable y = cross_entropy(z, targets({1}, {2}));
  EXPECT_NEAR(y.item(), std::log(4), 1e-15);
  const Variable dz = grad(y, {z}, {.create_graph = true})[0];
  EXPECT_THAT(
      dz.value().to_vector<double>(),
      testing::Pointwise(testing::DoubleNear(1e-15), std::vector<double>{0.25, 0.25, -0.75, 0.25}));
  const Variable second = grad(select(select(dz, 0, 0), 0, 2), {z})[0];
  EXPECT_NEAR(second.value().to_vector<double>()[2], 0.25 * 0.75, 1e-15);
}

TEST(CrossEntropy, TheMeanIsOverTheRowsThatAreNotIgnored) {
  const Variable z = random({3, 4}, 1);
  const double sum =
      cross_entropy(z, targets({3}, {1, -100, 2}), {.reduction = Reduction::sum}).item();
  EXPECT_NEAR(cross_entropy(z, targets({3}, {1, -100, 2})).item(), sum / 2, 1e-15);
  EXPECT_NEAR(cross_entropy(z, targets({3}, {1, 7, 2}), {.ignore_index = 7}).item(), sum / 2,
              1e-15);
  // An ignored class may also be one of the classes.
  EXPECT_NEAR(cross_entropy(z, targets({3}, {1, 3, 2}), {.ignore_index = 3}).item(), sum / 2,
              1e-15);
}

TEST(CrossEntropy, TheMeanOfNothingIsNaNAndItsGradientZero) {
  const Variable z = random({2, 4}, 1).detach_requires_grad(), x = random({2, 3}, 2);
  const Variable w = random({4, 3}, 3).detach_requires_grad(), none = targets({2}, {-100, -100});
  for (const auto& [loss, leaf] :
       {std::pair(cross_entropy(z, none), z), {linear_cross_entropy(x, w, {}, none), w}}) {
    EXPECT_TRUE(std::isnan(loss.item()));
    EXPECT_THAT(grad(loss, {leaf})[0].value().to_vector<double>(), Each(0.0));
  }
  EXPECT_TRUE(std::isnan(cross_entropy(random({0, 3}, 1), targets({0}, {})).item()));
}

TEST(CrossEntropy, SmoothingIsTheCrossEntropyWithTheMixture) {
  const Variable z = random({1, 3}, 1);
  double expected = 0;
  for (const std::int64_t c : {0, 1, 2})
    expected += (c == 1 ? 0.7 + 0.1 : 0.1) * cross_entropy(z, targets({1}, {c})).item();
  EXPECT_NEAR(cross_entropy(z, targets({1}, {1}), {.label_smoothing = 0.3}).item(), expected,
              1e-15);
}

// ---------------------------------------------------------------------------------------- refusals

TEST(CrossEntropy, RefusesWithNamesAndTheRemedy) {
  const Variable z = random({2, 3}, 1), t = targets({2}, {0, 2});
  EXPECT_THAT(message_of<ValueError>([&] {
                cross_entropy(z, targets({2}, {0, 3}));
              }),
              AllOf(HasSubstr("target 3"), HasSubstr("position 1"), HasSubstr("3 classes")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                cross_entropy(z, targets({3}, {0, 1, 2}));
              }),
              AllOf(HasSubstr("cross_entropy"), HasSubstr("(3,)"), HasSubstr("(2, 3)")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                cross_entropy(random({2, 0}, 1), t);
              }),
              HasSubstr("no classes"));
  EXPECT_THAT(message_of<DTypeError>([&] { cross_entropy(z, full({2}, 1)); }),
              AllOf(HasSubstr("f32"), HasSubstr("cast()")));
  EXPECT_THAT(message_of<DTypeError>([&] { cross_entropy(arange(3), targets({}, {1})); }),
              HasSubstr("i64"));
  EXPECT_THAT(message_of<ValueError>([&] { cross_entropy(z, t, {.label_smoothing = -0.1}); }),
              HasSubstr("-0.1"));
}

TEST(LinearCrossEntropy, RefusesWithNamesAndTheRemedy) {
  const Variable x = random({2, 3}, 1), w = random({4, 3}, 2), b = random({4}, 3);
  const Variable t = targets({2}, {0, 3});
  // The position is counted over all chunks.
  EXPECT_THAT(message_of<ValueError>([&] {
                linear_cross_entropy(x, w, b, targets({2}, {0, 4}), {.chunk_rows = 1});
              }),
              AllOf(HasSubstr("target 4"), HasSubstr("position 1"), HasSubstr("4 classes")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                linear_cross_entropy(x, random({4, 2}, 2), b, t);
              }),
              AllOf(HasSubstr("weight (4, 2)"), HasSubstr("x (2, 3)")));
  EXPECT_THAT(message_of<ShapeError>([&] { linear_cross_entropy(x, w, random({3}, 2), t); }),
              AllOf(HasSubstr("bias (3,)"), HasSubstr("(4, 3)")));
  EXPECT_THAT(message_of<ShapeError>([&] { linear_cross_entropy(x, w, b, targets({1}, {0})); }),
              HasSubstr("target (1,)"));
  EXPECT_THAT(message_of<DTypeError>([&] { linear_cross_entropy(x, cast(w, DType::f32), b, t); }),
              HasSubstr("cast()"));
  EXPECT_THAT(message_of<ValueError>([&] { linear_cross_entropy(x, w, b, t, {.chunk_rows = -1}); }),
              HasSubstr("chunk_rows is -1"));
}

// ------------------------------------------------------------------------------------------ memory

/// Bounds what may be handed out beside what lives now.
class Room {
 public:
  explicit Room(std::size_t bytes) {
    memory().trim();
    memory().set_limits(memory().stats().live_bytes + bytes, bytes);
  }
  ~Room() { memory().set_limits(std::numeric_limits<std::size_t>::max(), usual_cache); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

 private:
  static constexpr std::size_t usual_cache = std::size_t{512} << 20;
  static Allocator& memory() { return allocator(Device::cpu()); }
};

// The logits would take 128 MB; two chunks of them take 64, in the double backward.
TEST(LinearCrossEntropy, NeverHoldsTheLogits) {
  constexpr std::int64_t rows = 8192, classes = 4096, width = 2;
  const Variable x = normal({rows, width}, {1, 1}).detach_requires_grad();
  const Variable w = normal({classes, width}, {1, 2}).detach_requires_grad();
  const Variable b = normal({classes}, {1, 3}).detach_requires_grad();
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < rows; ++i) ids.push_back(i * 31 % classes);
  const Variable t = targets({rows}, ids);
  const std::size_t logits = std::size_t{rows} * classes * sizeof(float);
  const CrossEntropyOptions each{.reduction = Reduction::none};
  Variable losses;
  {
    const Room room(logits * 3 / 4);
    losses = linear_cross_entropy(x, w, b, t, each);
    const Variables first = grad(mean(losses), {x, w, b}, {.create_graph = true});
    grad(sum(square(first[0])) + sum(square(first[1])) + sum(square(first[2])), {x, w, b});
    EXPECT_THROW(matmul(x, transpose(w, 0, 1)), MemoryError);
  }
  const NoGrad off;
  const Variable want = cross_entropy(matmul(x, transpose(w, 0, 1)) + b, t, each);
  EXPECT_LT(max(abs(losses - want), 0).item(), 1e-5);
}

}  // namespace

std::vector<FusedRow> cross_entropy_rows() {
  const Variable z = random({4, 5}, 1, 2.0), t = targets({4}, {4, -100, 0, 2});
  const Variable x = random({2, 3, 2}, 2), w = random({4, 2}, 3), b = random({4}, 4), none;
  const Variable xt = targets({2, 3}, {3, 0, 7, 1, 1, 2});
  std::vector<FusedRow> rows{strided_row(), linear_strided_row()};
  for (const auto& [reduction, suffix] : {std::pair(Reduction::none, "_none"),
                                          {Reduction::mean, "_mean"},
                                          {Reduction::sum, "_sum"}}) {
    const auto named = [s = suffix](const char* name) { return std::string(name) + s; };
    rows.push_back(row(named("cross_entropy"), {z, t}, {.reduction = reduction}));
    rows.push_back(row(named("cross_entropy_smooth"), {z, t},
                       {.label_smoothing = 0.2, .reduction = reduction}));
    rows.push_back(linear_row(
        named("linear_cross_entropy"), {x, w, b, xt},
        {.ignore_index = 7, .label_smoothing = 0.1, .reduction = reduction, .chunk_rows = 4}));
  }
  rows.push_back(row("cross_entropy_narrow_targets", {z, cast(t, DType::i32)}, {}));
  rows.push_back(row("cross_entropy_one_row", {random({3}, 1), targets({}, {1})}, {}));
  rows.push_back(row("cross_entropy_three_axes", {random({2, 3, 4}, 1), xt}, {.ignore_index = 7}));
  rows.push_back(row("cross_entropy_one_class", {random({2, 1}, 1), targets({2}, {0, 0})}, {}));
  const CrossEntropyOptions sum{.reduction = Reduction::sum}, each{.reduction = Reduction::none};
  rows.push_back(
      row("cross_entropy_all_ignored", {z, targets({4}, {-100, -100, -100, -100})}, sum));
  rows.push_back(row("cross_entropy_empty", {random({0, 3}, 1), targets({0}, {})}, sum));
  rows.push_back(row("cross_entropy_large_logits", {random({4, 5}, 1, 300.0), t}, each));
  rows.push_back(linear_row("linear_cross_entropy_no_bias", {x, w, none, xt},
                            {.ignore_index = 7, .chunk_rows = 1}));
  rows.push_back(linear_row("linear_cross_entropy_one_chunk", {x, w, b, cast(xt, DType::i32)},
                            {.ignore_index = 7}));
  rows.push_back(linear_row("linear_cross_entropy_all_ignored",
                            {x, w, b, targets({2, 3}, {7, 7, 7, 7, 7, 7})},
                            {.ignore_index = 7, .reduction = Reduction::sum, .chunk_rows = 4}));
  rows.push_back(
      linear_row("linear_cross_entropy_empty", {random({0, 2}, 1), w, b, targets({0}, {})}, sum));
  rows.push_back(
      linear_row("linear_cross_entropy_one_row", {random({2}, 1), w, b, targets({}, {3})}, {}));
  return rows;
}

}  // namespace mettle::test
