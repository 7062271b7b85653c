// BCE-with-logits kernels: against the f64 oracle, against numeric derivatives, bit-stable, finite
// for huge logits.
#include "kernels/bce_with_logits.h"

#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct Case {
  std::int64_t n;
  Reduction reduction;
  bool weight;
  double pos_weight;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> many{
      {1, Reduction::mean, false, 1},     {17, Reduction::none, true, 1},
      {33, Reduction::sum, true, 2.5},    {1000, Reduction::mean, true, 0.3},
      {5000, Reduction::none, false, 3},  {70001, Reduction::sum, false, 1},
      {40000, Reduction::mean, true, 1.5}};
  static const std::vector<Case> few{
      {1, Reduction::mean, false, 1},    {17, Reduction::none, true, 1},
      {33, Reduction::sum, true, 2.5},   {1000, Reduction::mean, true, 0.3},
      {5000, Reduction::none, false, 3}, {20001, Reduction::sum, false, 1},
      {9000, Reduction::mean, true, 1.5}};
  return on_cpu() ? many : few;
}

struct Problem {
  Problem(const Case& c, DType t)
      : size(c),
        dtype(t),
        numbers(c.reduction == Reduction::none ? c.n : 1),
        x(t, random_vec(c.n, 1, -9, 9)),
        target(t, random_vec(c.n, 2, 0, 1)),
        weight(t, random_vec(c.n, 3, 0.5, 2)),
        dloss(statistics_dtype(t), random_vec(numbers, 4)),
        ddx(t, random_vec(c.n, 5)),
        ddtarget(t, random_vec(c.n, 6)),
        loss(statistics_dtype(t), numbers),
        dx_of_one(t, c.n),
        dx(t, c.n),
        dtarget(t, c.n),
        dx2(t, c.n),
        dtarget2(t, c.n),
        ddloss(statistics_dtype(t), numbers) {}

  void* weights() { return size.weight ? weight.data() : nullptr; }
  void forward() {
    bce_with_logits_forward(stream_under_test(),
                            {dtype, size.reduction, size.n, size.pos_weight, x.data(),
                             target.data(), weights(), loss.data(), dx_of_one.data()});
  }
  void backward() {
    bce_with_logits_backward(stream_under_test(),
                             {dtype, size.reduction, size.n, size.pos_weight, x.data(),
                              target.data(), weights(), dloss.data(), dx.data(), dtarget.data()});
  }
  void double_backward() {
    bce_with_logits_double_backward(
        stream_under_test(),
        {dtype, size.reduction, size.n, size.pos_weight, x.data(), target.data(), weights(),
         dloss.data(), ddx.data(), ddtarget.data(), dx2.data(), dtarget2.data(), ddloss.data()});
  }
  void run() {
    forward();
    backward();
    double_backward();
  }
  std::vector<Buffer> outputs() const {
    return {loss, dx_of_one, dx, dtarget, dx2, dtarget2, ddloss};
  }

  Case size;
  DType dtype;
  std::int64_t numbers;
  Buffer x, target, weight, dloss, ddx, ddtarget;
  Buffer loss, dx_of_one, dx, dtarget, dx2, dtarget2, ddloss;
};

void pin(const char* variant, auto&& body) {
  const Selected pinned(
      {&bce_with_logits_forward, &bce_with_logits_backward, &bce_with_logits_double_backward},
      variant);
  body();
}

TEST(BceWithLogitsKernel, MatchesTheOracle) {
  for (const Case& c : cases())
    for (const DType dtype : float_dtypes) {
      Problem fast(c, dtype);
      fast.run();
      const OnCpu cpu;
      Problem oracle(c, dtype);
      pin("naive", [&] { oracle.run(); });
      const auto got = fast.outputs(), want = oracle.outputs();
      for (std::size_t k = 0; k < got.size(); ++k)
        // Sums are taken in f64 above strips of 1024 elements.
        expect_close(fmt::format("n {} output {}", c.n, k), got[k], want[k], 60);
    }
}

TEST(BceWithLogitsKernel, DerivativesMatchNumericOnes) {
  for (const std::string& variant : variants_under_test(bce_with_logits_forward))
    for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
      pin(variant.c_str(), [&] {
        const Case c{19, reduction, true, 1.7};
        Problem p(c, DType::f64);
        p.run();
        const auto with = [&](const std::vector<Vec>& in) {
          Problem q(c, DType::f64);
          q.x = Buffer(DType::f64, in[0]);
          q.target = Buffer(DType::f64, in[1]);
          if (in.size() > 2) q.dloss = Buffer(DType::f64, in[2]);
          q.run();
          return q;
        };
        check_gradient(fmt::format("{} backward", variant),
                       [&](const auto& in) { return std::vector<Vec>{with(in).loss.values()}; },
                       {p.x.values(), p.target.values()}, {p.dloss.values()},
                       {p.dx.values(), p.dtarget.values()});
        check_gradient(fmt::format("{} double backward", variant),
                       [&](const auto& in) {
                         const Problem q = with(in);
                         return std::vector<Vec>{q.dx.values(), q.dtarget.values()};
                       },
                       {p.x.values(), p.target.values(), p.dloss.values()},
                       {p.ddx.values(), p.ddtarget.values()},
                       {p.dx2.values(), p.dtarget2.values(), p.ddloss.values()});
      });
}

TEST(BceWithLogitsKernel, SameBitsOnRepeatAndForAnyThreads) {
  for (const Case& c : cases()) {
    std::vector<std::vector<Buffer>> runs;
    for (const int count : repeats_under_test()) {
      const Threads pool(count);
      Problem p(c, DType::f32);
      p.run();
      runs.push_back(p.outputs());
    }
    for (const auto& run : runs) EXPECT_TRUE(run == runs[0]) << c.n;
  }
}

TEST(BceWithLogitsKernel, GradientOfTheSamePassIsTheBackwardOfOne) {
  Problem p({1000, Reduction::mean, true, 2}, DType::f32);
  p.dloss = Buffer(DType::f32, Vec{1});
  p.run();
  EXPECT_TRUE(p.dx_of_one == p.dx);
}

TEST(BceWithLogitsKernel, HugeAndTinyLogitsKeepTheirDigits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Vec logits{1e4, -1e4, 80, -80, 20, -20, 1e-6, 0}, targets{1, 0, 1, 0, 1, 0, 1, 0};
    Problem p({8, Reduction::none, false, 1}, dtype);
    p.x = Buffer(dtype, logits);
    p.target = Buffer(dtype, targets);
    p.run();
    const Vec loss = p.loss.values();
    for (std::size_t i = 0; i < loss.size(); ++i) {
      const double wrong = targets[i] > 0.5 ? -p.x.values()[i] : p.x.values()[i];
      const double want = std::log1p(std::exp(wrong));
      EXPECT_NEAR(loss[i], want, 8 * rounding(dtype) * want) << logits[i];
    }
  }
}

TEST(BceWithLogitsKernel, NothingGivesSumZeroAndMeanNaN) {
  for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
    Problem p({0, reduction, false, 1}, DType::f32);
    p.run();
    if (reduction == Reduction::sum) {
      EXPECT_EQ(p.loss.values()[0], 0);
      EXPECT_EQ(p.ddloss.values()[0], 0);
    } else {
      EXPECT_TRUE(std::isnan(p.loss.values()[0]));
    }
  }
}

TEST(BceWithLogitsKernel, NullOutputsAreSkippedAndNullCotangentsAreZeros) {
  const Case c{21, Reduction::mean, true, 1.5};
  Problem full(c, DType::f32), part(c, DType::f32), zeros(c, DType::f32);
  full.run();
  bce_with_logits_backward(
      stream_under_test(),
      {DType::f32, c.reduction, c.n, c.pos_weight, part.x.data(), part.target.data(),
       part.weight.data(), part.dloss.data(), nullptr, part.dtarget.data()});
  EXPECT_TRUE(part.dtarget == full.dtarget);
  bce_with_logits_double_backward(stream_under_test(),
                                  {DType::f32, c.reduction, c.n, c.pos_weight, part.x.data(),
                                   part.target.data(), part.weight.data(), part.dloss.data(),
                                   part.ddx.data(), nullptr, part.dx2.data(), nullptr, nullptr});
  zeros.ddtarget = Buffer(DType::f32, Vec(21));
  zeros.run();
  EXPECT_EQ(part.dx2.values(), zeros.dx2.values());
}

}  // namespace
}  // namespace mettle::test
