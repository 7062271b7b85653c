// Softmax cross-entropy kernels: against the f64 oracle, against numeric derivatives, bit-stable,
// with logits that are huge or infinite, and what they refuse.
#include "kernels/cross_entropy.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr std::int64_t ignore = -100;
constexpr double inf = std::numeric_limits<double>::infinity();

struct Case {
  std::int64_t rows, classes;
  double label_smoothing;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> many{
      {1, 1, 0},      {1, 1, 0.2},   {3, 2, 0},       {5, 17, 0.1},   {4, 33, 1},
      {0, 7, 0},      {7, 64, 0},    {300, 100, 0.3}, {2, 2048, 0},   {3, 2049, 0.1},
      {5, 5001, 0.1}, {1, 20000, 0}, {70, 1000, 0},   {2, 20003, 0.1}};
  static const std::vector<Case> few{{1, 1, 0},     {1, 1, 0.2},    {3, 2, 0},      {5, 17, 0.1},
                                     {4, 33, 1},    {0, 7, 0},      {7, 64, 0},     {60, 35, 0.3},
                                     {2, 2048, 0},  {5, 2049, 0.1}, {3, 1025, 0.1}, {1, 20000, 0},
                                     {20, 1000, 0}, {2, 20003, 0.1}};
  return on_cpu() ? many : few;
}

/// Every fourth target is ignored.
std::vector<std::int64_t> targets_of(const Case& c) {
  std::vector<std::int64_t> t;
  for (std::int64_t i = 0; i < c.rows; ++i)
    t.push_back(i % 4 == 3 ? ignore : (i * 7919 + c.classes - 1) % c.classes);
  return t;
}

struct Problem {
  Problem(const Case& c, DType t)
      : size(c),
        dtype(t),
        target(targets_of(c)),
        logits(t, random_vec(c.rows * c.classes, 1, -6, 6)),
        dloss(statistics_dtype(t), random_vec(c.rows, 2, 0.5, 2)),
        ddlogits(t, random_vec(c.rows * c.classes, 3)),
        loss(statistics_dtype(t), c.rows),
        highest(statistics_dtype(t), c.rows),
        inverse(statistics_dtype(t), c.rows),
        dlogits(t, c.rows * c.classes),
        dlogits2(t, c.rows * c.classes),
        ddloss(statistics_dtype(t), c.rows) {}

  CrossEntropyRows rows() {
    uploaded.emplace_back(target);
    return {dtype,  DType::i64,           size.rows,     size.classes,
            ignore, size.label_smoothing, logits.data(), uploaded.back().data()};
  }
  void forward() {
    cross_entropy_forward(stream_under_test(),
                          {rows(), loss.data(), highest.data(), inverse.data()});
  }
  void backward() {
    cross_entropy_backward(stream_under_test(),
                           {rows(), highest.data(), inverse.data(), dloss.data(), dlogits.data()});
  }
  void double_backward() {
    cross_entropy_double_backward(
        stream_under_test(), {rows(), highest.data(), inverse.data(), dloss.data(), ddlogits.data(),
                              dlogits2.data(), ddloss.data()});
  }
  void run() {
    forward();
    backward();
    double_backward();
  }
  std::vector<Buffer> outputs() const {
    return {loss, highest, inverse, dlogits, dlogits2, ddloss};
  }

  Case size;
  DType dtype;
  std::vector<std::int64_t> target;
  std::vector<Array<std::int64_t>> uploaded;  // on the device, as long as kernels may read them
  Buffer logits, dloss, ddlogits;
  Buffer loss, highest, inverse, dlogits, dlogits2, ddloss;
};

void pin(const char* variant, auto&& body) {
  const Selected pinned(
      {&cross_entropy_forward, &cross_entropy_backward, &cross_entropy_double_backward}, variant);
  body();
}

void expect_oracle(const Case& c, DType dtype) {
  Problem fast(c, dtype);
  fast.run();
  const OnCpu cpu;
  Problem oracle(c, dtype);
  pin("naive", [&] { oracle.run(); });
  const auto got = fast.outputs(), want = oracle.outputs();
  // Lanes add at most 2048 / 4 numbers of a strip, everything else is a few roundings.
  for (std::size_t k = 0; k < got.size(); ++k)
    expect_close(fmt::format("{} x {} output {}", c.rows, c.classes, k), got[k], want[k], 64);
}

TEST(CrossEntropyKernel, MatchesTheOracle) {
  for (const Case& c : cases())
    for (const DType dtype : float_dtypes) expect_oracle(c, dtype);
}

// More rows than a device has room for at a time, with ignored ones among them.
TEST(CrossEntropyKernel, BlocksHaveManyRows) {
  expect_oracle({100, 1030, 0.1}, DType::f32);
  expect_oracle({300, 11, 0.1}, DType::bf16);
}

TEST(CrossEntropyKernel, DerivativesMatchNumericOnes) {
  for (const std::string& variant : variants_under_test(cross_entropy_forward))
    for (const double smoothing : {0.0, 0.15})
      pin(variant.c_str(), [&] {
        const Case c{5, 7, smoothing};
        Problem p(c, DType::f64);
        p.run();
        const auto with = [&](const std::vector<Vec>& in) {
          Problem q(c, DType::f64);
          q.logits = Buffer(DType::f64, in[0]);
          if (in.size() > 1) q.dloss = Buffer(DType::f64, in[1]);
          q.run();
          return q;
        };
        check_gradient(fmt::format("{} backward", variant),
                       [&](const auto& in) { return std::vector<Vec>{with(in).loss.values()}; },
                       {p.logits.values()}, {p.dloss.values()}, {p.dlogits.values()});
        check_gradient(fmt::format("{} double backward", variant),
                       [&](const auto& in) { return std::vector<Vec>{with(in).dlogits.values()}; },
                       {p.logits.values(), p.dloss.values()}, {p.ddlogits.values()},
                       {p.dlogits2.values(), p.ddloss.values()});
      });
}

TEST(CrossEntropyKernel, SameBitsOnRepeatAndForAnyThreads) {
  for (const Case& c : cases()) {
    std::vector<std::vector<Buffer>> runs;
    for (const int count : repeats_under_test()) {
      const Threads pool(count);
      Problem p(c, DType::f32);
      p.run();
      runs.push_back(p.outputs());
    }
    for (const auto& run : runs) EXPECT_TRUE(run == runs[0]) << c.rows << " x " << c.classes;
  }
}

TEST(CrossEntropyKernel, NarrowTargetsAreTheSame) {
  Problem wide({9, 20, 0.1}, DType::f32), narrow = wide;
  wide.run();
  const Array<std::int32_t> target({wide.target.begin(), wide.target.end()});
  CrossEntropyRows rows = narrow.rows();
  rows.target_dtype = DType::i32;
  rows.target = target.data();
  cross_entropy_forward(stream_under_test(), {rows, narrow.loss.data(), nullptr, nullptr});
  EXPECT_TRUE(narrow.loss == wide.loss);
}

TEST(CrossEntropyKernel, WorksInPlace) {
  Problem apart({6, 3000, 0.1}, DType::f32), in_place = apart;
  apart.run();
  in_place.forward();
  cross_entropy_double_backward(
      stream_under_test(),
      {in_place.rows(), in_place.highest.data(), in_place.inverse.data(), in_place.dloss.data(),
       in_place.ddlogits.data(), in_place.ddlogits.data(), in_place.ddloss.data()});
  cross_entropy_backward(stream_under_test(),
                         {in_place.rows(), in_place.highest.data(), in_place.inverse.data(),
                          in_place.dloss.data(), in_place.logits.data()});
  EXPECT_TRUE(in_place.ddlogits == apart.dlogits2);
  EXPECT_TRUE(in_place.ddloss == apart.ddloss);
  EXPECT_TRUE(in_place.logits == apart.dlogits);
}

TEST(CrossEntropyKernel, NullOutputsAreSkipped) {
  Problem all({6, 30, 0.1}, DType::f32);
  all.run();
  Problem first = all, second = all;
  first.dlogits2 = Buffer(DType::f32, Vec(180));
  second.ddloss = Buffer(DType::f32, Vec(6));
  const auto with = [](Problem& p, void* dlogits2, void* ddloss) {
    cross_entropy_double_backward(stream_under_test(),
                                  {p.rows(), p.highest.data(), p.inverse.data(), p.dloss.data(),
                                   p.ddlogits.data(), dlogits2, ddloss});
  };
  with(first, first.dlogits2.data(), nullptr);
  with(second, nullptr, second.ddloss.data());
  EXPECT_TRUE(first.dlogits2 == all.dlogits2);
  EXPECT_TRUE(second.ddloss == all.ddloss);
}

// Far from zero the digits of a difference of logits are kept, and nothing overflows.
TEST(CrossEntropyKernel, HugeLogitsKeepTheirDigits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Problem p({3, 3, 0}, dtype);
    p.target = {0, 1, 2};
    p.logits = Buffer(dtype, Vec{1e8, 1e8, -1e8, 1e30, 0, -1e30, -500, -501, -502});
    p.run();
    const Vec loss = p.loss.values();
    EXPECT_NEAR(loss[0], std::log(2), 4 * rounding(dtype));
    EXPECT_NEAR(loss[1] / 1e30, 1, 4 * rounding(dtype));
    EXPECT_NEAR(loss[2], 2 + std::log(1 + std::exp(-1) + std::exp(-2)), 8 * rounding(dtype));
    const Vec dz = p.dlogits.values(), slope = p.dloss.values();
    EXPECT_NEAR(dz[0], -0.5 * slope[0], 4 * rounding(dtype));
    EXPECT_NEAR(dz[3], slope[1], 4 * rounding(dtype));
    EXPECT_NEAR(dz[4], -slope[1], 4 * rounding(dtype));
  }
}

// -inf excludes a class, also when it fills the first strips of a row.
TEST(CrossEntropyKernel, ExcludedClassesHaveNoProbability) {
  Problem p({1, 5000, 0}, DType::f32);
  Vec logits(5000, -inf);
  logits[4500] = 1;
  logits[4700] = 1;
  p.logits = Buffer(DType::f32, logits);
  p.target = {4500};
  p.run();
  EXPECT_NEAR(p.loss.values()[0], std::log(2), 1e-6);
  Vec dz = p.dlogits.values();
  EXPECT_NEAR(dz[4500], -0.5 * p.dloss.values()[0], 1e-6);
  EXPECT_NEAR(dz[4700], 0.5 * p.dloss.values()[0], 1e-6);
  dz[4500] = dz[4700] = 0;
  EXPECT_THAT(dz, Each(0.0));
}

TEST(CrossEntropyKernel, ANaNIsSeenWhereverItIs) {
  for (const std::size_t place : {std::size_t{0}, std::size_t{2047}, std::size_t{4999}})
    for (const double others : {0.0, -inf}) {
      Problem p({1, 5000, 0}, DType::f32);
      Vec logits(5000, others);
      logits[1] = 0;
      logits[place] = std::nan("");
      p.logits = Buffer(DType::f32, logits);
      p.target = {1};
      p.run();
      EXPECT_TRUE(std::isnan(p.loss.values()[0])) << place;
    }
}

TEST(CrossEntropyKernel, IgnoredRowsAreZeroWhateverTheyHold) {
  Problem p({2, 3, 0.1}, DType::f32);
  p.target = {ignore, ignore};
  p.logits = Buffer(DType::f32, Vec{std::nan(""), inf, -inf, 0, 0, 0});
  p.run();
  for (const Buffer& out : p.outputs()) EXPECT_THAT(out.values(), Each(0.0));
}

TEST(CrossEntropyKernel, RefusesWithTheRemedy) {
  for (const std::string& variant : variants_under_test(cross_entropy_forward))
    pin(variant.c_str(), [] {
      Problem p({3, 4, 0}, DType::f32);
      const auto message = [&]<class E>(TypeTag<E>, auto change) {
        CrossEntropyRows rows = p.rows();
        change(rows);
        return message_of<E>([&] {
          cross_entropy_forward(stream_under_test(), {rows, p.loss.data(), nullptr, nullptr});
          synchronize(device_under_test());  // where a device says what it found
        });
      };
      p.target[1] = 4;
      EXPECT_THAT(message(TypeTag<ValueError>{}, [](auto& r) { r.first_row = 10; }),
                  AllOf(HasSubstr("target 4"), HasSubstr("position 11"), HasSubstr("4 classes")));
      EXPECT_THAT(message_of<ValueError>([&] {
                    p.backward();
                    synchronize(device_under_test());
                  }),
                  HasSubstr("target 4"));
      EXPECT_THAT(message_of<ValueError>([&] {
                    p.double_backward();
                    synchronize(device_under_test());
                  }),
                  HasSubstr("target 4"));
      p.target[1] = -1;
      EXPECT_THAT(message(TypeTag<ValueError>{}, [](auto&) {}), HasSubstr("target -1"));
      p.target[1] = 0;
      EXPECT_THAT(message(TypeTag<ValueError>{}, [](auto& r) { r.label_smoothing = 1.5; }),
                  HasSubstr("1.5"));
      EXPECT_THAT(message(TypeTag<DTypeError>{}, [](auto& r) { r.dtype = DType::i32; }),
                  HasSubstr("i32"));
      EXPECT_THAT(message(TypeTag<DTypeError>{}, [](auto& r) { r.target_dtype = DType::f32; }),
                  AllOf(HasSubstr("f32"), HasSubstr("cast()")));
      EXPECT_THAT(message(TypeTag<ShapeError>{}, [](auto& r) { r.classes = 0; }),
                  HasSubstr("0 classes"));
    });
}

}  // namespace
}  // namespace mettle::test
