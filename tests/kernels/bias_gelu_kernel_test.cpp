// bias + GELU kernels: against the f64 oracle, accurate in the lower tail, against numeric
// derivatives, bit-stable.
#include "kernels/bias_gelu.h"

#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct Case {
  std::int64_t rows, columns, groups;
  bool bias;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> many{
      {1, 1, 1, true},     {6, 7, 2, true},     {320, 32, 32, true},
      {3, 1025, 1, false}, {200, 130, 1, true}, {1, 20000, 1, true},
      {900, 64, 9, true},  {0, 4, 2, true},     {300, 1032, 1, true}};
  static const std::vector<Case> few{{1, 1, 1, true},     {6, 7, 2, true},    {64, 32, 16, true},
                                     {3, 1025, 1, false}, {90, 130, 1, true}, {300, 64, 3, true},
                                     {0, 4, 2, true},     {70, 520, 1, true}};
  return on_cpu() ? many : few;
}

struct Problem {
  Problem(const Case& c, DType t, GeluForm f)
      : size(c),
        dtype(t),
        form(f),
        x(t, random_vec(c.rows * c.columns, 1, -6, 6)),
        bias(t, random_vec(c.groups * c.columns, 2)),
        dy(t, random_vec(c.rows * c.columns, 3)),
        ddx(t, random_vec(c.rows * c.columns, 4)),
        ddbias(t, random_vec(c.groups * c.columns, 5)),
        y(t, c.rows * c.columns),
        dx(t, c.rows * c.columns),
        dbias(t, c.groups * c.columns),
        dx2(t, c.rows * c.columns),
        dbias2(t, c.groups * c.columns),
        ddy(t, c.rows * c.columns) {}

  void* biases() { return size.bias ? bias.data() : nullptr; }
  void run() {
    bias_gelu_forward(stream_under_test(), {dtype, form, size.rows, size.columns, size.groups,
                                            x.data(), biases(), y.data()});
    bias_gelu_backward(stream_under_test(),
                       {dtype, form, size.rows, size.columns, size.groups, x.data(), biases(),
                        dy.data(), dx.data(), dbias.data()});
    bias_gelu_double_backward(
        stream_under_test(),
        {dtype, form, size.rows, size.columns, size.groups, x.data(), biases(), dy.data(),
         ddx.data(), ddbias.data(), dx2.data(), dbias2.data(), ddy.data()});
  }
  std::vector<Buffer> outputs() const { return {y, dx, dbias, dx2, dbias2, ddy}; }

  Case size;
  DType dtype;
  GeluForm form;
  Buffer x, bias, dy, ddx, ddbias;
  Buffer y, dx, dbias, dx2, dbias2, ddy;
};

void pin(const char* variant, auto&& body) {
  const Selected pinned({&bias_gelu_forward, &bias_gelu_backward, &bias_gelu_double_backward},
                        variant);
  body();
}

constexpr GeluForm forms[] = {GeluForm::erf, GeluForm::tanh};

TEST(BiasGeluKernel, MatchesTheOracle) {
  for (const Case& c : cases())
    for (const DType dtype : float_dtypes)
      for (const GeluForm form : forms) {
        Problem fast(c, dtype, form);
        fast.run();
        const OnCpu cpu;
        Problem oracle(c, dtype, form);
        pin("naive", [&] { oracle.run(); });
        const auto got = fast.outputs(), want = oracle.outputs();
        const std::int64_t group_rows = c.rows / c.groups;
        const double rows = static_cast<double>(group_rows);
        for (std::size_t k = 0; k < got.size(); ++k)
          expect_close(fmt::format("{} x {} output {}", c.rows, c.columns, k), got[k], want[k],
                       40 + 2 * rows);
      }
}

// z Phi(z) keeps its relative accuracy where 1 + erf would cancel.
TEST(BiasGeluKernel, ErfFormIsAccurateInTheLowerTail) {
  const std::int64_t n = on_cpu() ? 20000 : 2000;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double far = dtype == DType::f32 ? -12.9 : -37;
    const Buffer x(dtype, random_vec(n, 11, far, 8));
    Problem p({1, n, 1, false}, dtype, GeluForm::erf);
    p.x = x;
    p.run();
    const Vec in = x.values(), out = p.y.values();
    double worst = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const long double z = in[i];
      const long double want = z * 0.5L * std::erfc(-z / std::sqrt(2.0L));
      worst = std::max(worst, static_cast<double>(std::abs(out[i] / want - 1)));
    }
    EXPECT_LT(worst, (dtype == DType::f32 ? 6 : 12) * rounding(dtype));
  }
}

// Near and far arguments take different ways; a result depends on its own argument only.
TEST(BiasGeluKernel, NeighboursDoNotMatter) {
  const std::int64_t n = on_cpu() ? 4000 : 500;
  const Vec near = random_vec(n, 21, -6.5, 6.5);
  Vec among_far;
  for (std::size_t i = 0; i < near.size(); ++i) {
    among_far.push_back(near[i]);
    among_far.push_back(i % 2 == 0 ? 9.0 : -30.0);
  }
  for (const DType dtype : float_dtypes)
    for (const GeluForm form : forms) {
      Problem alone({1, n, 1, false}, dtype, form), mixed({1, 2 * n, 1, false}, dtype, form);
      alone.x = Buffer(dtype, near);
      mixed.x = Buffer(dtype, among_far);
      alone.dy = Buffer(dtype, Vec(near.size(), 1.0));
      mixed.dy = Buffer(dtype, Vec(among_far.size(), 1.0));
      alone.ddx = Buffer(dtype, Vec(near.size(), 1.0));
      mixed.ddx = Buffer(dtype, Vec(among_far.size(), 1.0));
      alone.ddbias = Buffer(dtype, Vec(near.size(), 0.0));
      mixed.ddbias = Buffer(dtype, Vec(among_far.size(), 0.0));
      alone.run();
      mixed.run();
      for (const auto output : {&Problem::y, &Problem::dx, &Problem::dx2, &Problem::ddy}) {
        const Vec want = (alone.*output).values(), got = (mixed.*output).values();
        for (std::size_t i = 0; i < near.size(); ++i)
          ASSERT_EQ(got[2 * i], want[i]) << to_string(dtype) << " at " << near[i];
      }
    }
}

// Where tables end (5.5 and 4.75) and between their pieces, on both sides of each.
TEST(BiasGeluKernel, SeamsOfTablesDoNotShow) {
  Vec seams;
  for (const double end : {5.5, 4.75})
    for (int half = 0; half <= 62; ++half) {
      const auto seam = static_cast<float>(end * half / 62);
      for (const float z : {std::nextafter(seam, 0.0f), seam, std::nextafter(seam, 9.0f)})
        for (const double sign : {-1.0, 1.0}) seams.push_back(sign * static_cast<double>(z));
    }
  const auto n = static_cast<std::int64_t>(seams.size());
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const GeluForm form : forms) {
      Problem fast({1, n, 1, false}, dtype, form);
      fast.x = Buffer(dtype, seams);
      fast.run();
      const OnCpu cpu;
      Problem oracle({1, n, 1, false}, dtype, form);
      oracle.x = Buffer(dtype, seams);
      pin("naive", [&] { oracle.run(); });
      const auto got = fast.outputs(), want = oracle.outputs();
      for (std::size_t k = 0; k < got.size(); ++k)
        expect_close(fmt::format("output {}", k), got[k], want[k], 42);
    }
}

TEST(BiasGeluKernel, DerivativesMatchNumericOnes) {
  for (const std::string& variant : variants_under_test(bias_gelu_forward))
    for (const GeluForm form : forms)
      pin(variant.c_str(), [&] {
        const Case c{6, 9, 3, true};
        Problem p(c, DType::f64, form);
        p.run();
        const auto with = [&](const std::vector<Vec>& in) {
          Problem q(c, DType::f64, form);
          q.x = Buffer(DType::f64, in[0]);
          q.bias = Buffer(DType::f64, in[1]);
          if (in.size() > 2) q.dy = Buffer(DType::f64, in[2]);
          q.run();
          return q;
        };
        check_gradient(fmt::format("{} backward", variant),
                       [&](const auto& in) { return std::vector<Vec>{with(in).y.values()}; },
                       {p.x.values(), p.bias.values()}, {p.dy.values()},
                       {p.dx.values(), p.dbias.values()});
        check_gradient(fmt::format("{} double backward", variant),
                       [&](const auto& in) {
                         const Problem q = with(in);
                         return std::vector<Vec>{q.dx.values(), q.dbias.values()};
                       },
                       {p.x.values(), p.bias.values(), p.dy.values()},
                       {p.ddx.values(), p.ddbias.values()},
                       {p.dx2.values(), p.dbias2.values(), p.ddy.values()});
      });
}

TEST(BiasGeluKernel, SameBitsOnRepeatAndForAnyThreads) {
  for (const Case& c : cases()) {
    std::vector<std::vector<Buffer>> runs;
    for (const int count : repeats_under_test()) {
      const Threads pool(count);
      Problem p(c, DType::f32, GeluForm::erf);
      p.run();
      runs.push_back(p.outputs());
    }
    for (const auto& run : runs) EXPECT_TRUE(run == runs[0]) << c.rows << " x " << c.columns;
  }
}

TEST(BiasGeluKernel, FarFromZeroItIsTheIdentityOrZero) {
  for (const GeluForm form : forms)
    for (const DType dtype : {DType::f32, DType::f64}) {
      Problem p({1, 4, 1, false}, dtype, form);
      p.x = Buffer(dtype, Vec{1e4, -1e4, 60, -60});
      p.run();
      EXPECT_EQ(p.y.values()[0], p.x.values()[0]);
      EXPECT_EQ(p.y.values()[1], 0);
      EXPECT_EQ(p.y.values()[2], 60);
      for (double v : p.dx2.values()) EXPECT_EQ(v, 0);
      EXPECT_EQ(p.dx.values()[0], p.dy.values()[0]);
    }
}

TEST(BiasGeluKernel, NullOutputsAreSkippedAndNullCotangentsAreZeros) {
  const Case c{4, 13, 2, true};
  Problem full(c, DType::f32, GeluForm::erf), part = full, zeros = full;
  full.run();
  bias_gelu_backward(stream_under_test(),
                     {DType::f32, GeluForm::erf, 4, 13, 2, part.x.data(), part.bias.data(),
                      part.dy.data(), nullptr, part.dbias.data()});
  EXPECT_TRUE(part.dbias == full.dbias);
  bias_gelu_double_backward(
      stream_under_test(),
      {DType::f32, GeluForm::erf, 4, 13, 2, part.x.data(), part.bias.data(), part.dy.data(),
       nullptr, part.ddbias.data(), nullptr, part.dbias2.data(), nullptr});
  zeros.ddx = Buffer(DType::f32, Vec(4 * 13));
  zeros.run();
  EXPECT_EQ(part.dbias2.values(), zeros.dbias2.values());
}

TEST(BiasGeluKernel, MayWorkInPlace) {
  Problem apart({5, 33, 1, true}, DType::f32, GeluForm::tanh), inside = apart;
  apart.run();
  bias_gelu_forward(stream_under_test(), {DType::f32, GeluForm::tanh, 5, 33, 1, inside.x.data(),
                                          inside.bias.data(), inside.x.data()});
  EXPECT_EQ(inside.x.values(), apart.y.values());
}

}  // namespace
}  // namespace mettle::test
