// How far the elementwise functions are from the true ones, in units in the last place, on dense
// grids of bit patterns: normal and subnormal numbers of every size, infinities, NaN. The bounds
// hold on machines without fused multiply-add too.
#include <bit>
#include <limits>

#include "kernels/elementwise.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

/// The oracle: at least eleven bits more than the type under test.
using Exact = long double;

struct Row {
  const char* name;
  UnaryOp op;
  Exact (*truth)(Exact x, double alpha);
  double ulps_f32, ulps_f64;
  double alpha = 1;
};

const Row rows[] = {
    {"exp", UnaryOp::exp, [](Exact x, double) { return std::exp(x); }, 1.0, 1.0},
    {"log", UnaryOp::log, [](Exact x, double) { return std::log(x); }, 1.0, 1.0},
    {"log1p", UnaryOp::log1p, [](Exact x, double) { return std::log1p(x); }, 2.5, 2.5},
    {"sin", UnaryOp::sin, [](Exact x, double) { return std::sin(x); }, 3.0, 3.0},
    {"cos", UnaryOp::cos, [](Exact x, double) { return std::cos(x); }, 3.0, 3.0},
    {"tanh", UnaryOp::tanh, [](Exact x, double) { return std::tanh(x); }, 2.5, 2.5},
    {"sigmoid", UnaryOp::sigmoid, [](Exact x, double) { return 1 / (1 + std::exp(-x)); }, 2.5, 2.5},
    {"softplus", UnaryOp::softplus,
     [](Exact x, double) { return std::max(x, Exact{0}) + std::log1p(std::exp(-std::abs(x))); },
     2.5, 2.5},
    {"erf", UnaryOp::erf, [](Exact x, double) { return std::erf(x); }, 3.0, 2.0},
    {"power 1.5", UnaryOp::power, [](Exact x, double a) { return std::pow(x, Exact(a)); }, 0.51,
     1.0, 1.5},
    {"power -3", UnaryOp::power, [](Exact x, double a) { return std::pow(x, Exact(a)); }, 0.51, 1.0,
     -3},
};

template <class T>
std::vector<T> compute(UnaryOp op, const std::vector<T>& xs, double alpha = 1, double beta = 0) {
  const Array<T> x(xs);
  Array<T> y(std::vector<T>(xs.size()));
  unary(stream_under_test(), {op,
                              dtype_of<T>,
                              x.data(),
                              y.data(),
                              {static_cast<std::int64_t>(xs.size())},
                              {1},
                              alpha,
                              beta});
  return y.values();
}

/// |got - truth| in units of the last place of T at the truth. 0 when both are NaN, the same
/// infinity, or beyond the largest number on the same side.
template <class T> double ulps(T got, Exact truth) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(truth) || std::isnan(got)) return std::isnan(truth) && std::isnan(got) ? 0 : 1e30;
  const T rounded = static_cast<T>(truth);
  if (std::isinf(got) || std::isinf(rounded)) return got == rounded ? 0 : 1e30;
  const int exponent =
      std::max(std::ilogb(truth == 0 ? Limits::denorm_min() : truth), Limits::min_exponent - 1);
  return static_cast<double>(std::abs((static_cast<Exact>(got) - truth) /
                                      std::ldexp(Exact{1}, exponent - Limits::digits + 1)));
}

template <class T> std::vector<T> grid() {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  std::vector<T> xs;
  constexpr int points = 100000;
  constexpr Bits stride = std::numeric_limits<Bits>::max() / points;
  Bits bits = 0;
  for (int i = 0; i <= points; ++i, bits += stride) xs.push_back(std::bit_cast<T>(bits));
  std::mt19937_64 random(1);
  for (const double width : {1.0, 4.0, 100.0, 1e4}) {
    std::uniform_real_distribution<double> uniform(-width, width);
    for (int i = 0; i < points / 4; ++i) xs.push_back(static_cast<T>(uniform(random)));
  }
  using Limits = std::numeric_limits<T>;
  for (const T x : {T{0}, T{1}, Limits::denorm_min(), Limits::min(), Limits::max(),
                    Limits::infinity(), Limits::quiet_NaN()})
    xs.insert(xs.end(), {x, -x, std::nextafter(x, T{0}), std::nextafter(x, T{2})});
  return xs;
}

template <class T> void check_row(const Row& row, const std::vector<T>& xs, double bound) {
  const std::vector<T> ys = compute(row.op, xs, row.alpha);
  double worst = 0;
  T at = 0;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double error = ulps(ys[i], row.truth(xs[i], row.alpha));
    if (error > worst) worst = error, at = xs[i];
  }
  EXPECT_LE(worst, bound) << row.name << " of " << to_string(dtype_of<T>) << " at " << at
                          << ": got " << compute(row.op, std::vector<T>{at}, row.alpha)[0]
                          << ", true is " << row.truth(at, row.alpha);
}

TEST(ElementwiseAccuracy, StaysWithinItsUlpsEverywhere) {
  const auto f32 = grid<float>();
  const auto f64 = grid<double>();
  for (const Row& row : rows) {
    check_row(row, f32, row.ulps_f32);
    check_row(row, f64, row.ulps_f64);
  }
}

// A lane's neighbours do not change its bits: tails and whole vectors run the same code.
TEST(ElementwiseAccuracy, TailsHaveTheBitsOfWholeVectors) {
  const auto xs = grid<float>();
  for (const Row& row : rows) {
    const std::vector<float> some(xs.begin() + 50000, xs.begin() + 51000);
    const std::vector<float> ys = compute(row.op, some, row.alpha);
    for (std::size_t i = 0; i < ys.size(); i += 37) {
      const float alone = compute(row.op, std::vector<float>{some[i]}, row.alpha)[0];
      EXPECT_EQ(std::bit_cast<std::uint32_t>(ys[i]), std::bit_cast<std::uint32_t>(alone))
          << row.name << " of " << xs[50000 + i];
    }
  }
}

TEST(ElementwiseAccuracy, SignsOfZeroAreKept) {
  for (const UnaryOp op : {UnaryOp::tanh, UnaryOp::erf, UnaryOp::sin, UnaryOp::log1p}) {
    for (const float x : {0.0f, -0.0f}) {
      const float y = compute(op, std::vector<float>{x})[0];
      EXPECT_EQ(std::bit_cast<std::uint32_t>(y), std::bit_cast<std::uint32_t>(x));
    }
  }
}

// Highway's Ne() is false for NaN on some targets, so NaN needs a test of its own in every map.
TEST(ElementwiseAccuracy, NotANumberPassesThroughEveryFunction) {
  for (int op = 0; op <= static_cast<int>(UnaryOp::power); ++op) {
    std::vector<float> xs(19, 0.5f);
    for (const std::size_t at : {0u, 7u, 18u}) xs[at] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> ys = compute(static_cast<UnaryOp>(op), xs, 1.5, 0.5);
    for (std::size_t i = 0; i < xs.size(); ++i) {
      EXPECT_EQ(std::isnan(ys[i]), std::isnan(xs[i])) << "op " << op << ", element " << i;
    }
  }
  for (const BinaryOp op :
       {BinaryOp::add, BinaryOp::sub, BinaryOp::mul, BinaryOp::div, BinaryOp::maximum,
        BinaryOp::minimum, BinaryOp::power, BinaryOp::tanh_backward, BinaryOp::sigmoid_backward}) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const Array<float> as(std::vector<float>(19, nan)), bs(std::vector<float>(19, 2.0f));
    Array<float> ys(std::vector<float>(19));
    for (const auto& [a, b] : {std::pair{&as, &bs}, std::pair{&bs, &as}}) {
      binary(stream_under_test(),
             {op, DType::f32, a->data(), b->data(), ys.data(), {19}, {1}, {1}});
      for (const float y : ys.values()) EXPECT_TRUE(std::isnan(y)) << "op " << static_cast<int>(op);
    }
  }
}

}  // namespace
}  // namespace mettle::test
