// Random values: the same bits on every device, close to what the mathematical library makes of the
// same uniform numbers, inside of their range.
#include "kernels/random.h"

#include <numbers>

#include "kernels/random_numbers.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr PhiloxKey key{0x123456789abcdefull, 42};

Buffer draw(Distribution distribution, DType dtype, std::int64_t n, double a, double b,
            std::int64_t skip = 0, const PhiloxKey& from = key) {
  Buffer y(dtype, Vec(static_cast<std::size_t>(n + skip), 0.0));
  auto* at =
      static_cast<std::uint8_t*>(y.data()) + skip * static_cast<std::int64_t>(size_of(dtype));
  random_fill(stream_under_test(), {distribution, dtype, at, n, from, a, b});
  return y;
}

TEST(RandomFill, TheBitsOfTheCpu) {
  for (const Distribution distribution : {Distribution::uniform, Distribution::normal})
    for (const DType dtype : float_dtypes)
      for (const std::int64_t n : {0, 1, 2, 7, 1000, 3001})
        for (const std::int64_t skip : {0, 1}) {
          const Vec got = draw(distribution, dtype, n, -0.7, 1.3, skip).values();
          const OnCpu cpu;
          EXPECT_EQ(got, draw(distribution, dtype, n, -0.7, 1.3, skip).values())
              << to_string(dtype) << " " << n << " " << skip;
        }
}

TEST(RandomFill, AStoredKeyDrawsTheSame) {
  const Array<std::uint64_t> stored({key.seed, key.offset});
  for (const Distribution distribution : {Distribution::uniform, Distribution::normal})
    for (const DType dtype : float_dtypes)
      EXPECT_EQ(draw(distribution, dtype, 1001, -1, 2, 0, {1, 2, stored.data()}),
                draw(distribution, dtype, 1001, -1, 2))
          << to_string(dtype);
}

TEST(ForkKey, IsTheForkOfTheHost) {
  const Array<std::uint64_t> stored({key.seed, key.offset}), once({0, 0}), twice({0, 0});
  const auto numbers = [](const PhiloxKey& k) {
    return std::vector<std::uint64_t>{k.seed, k.offset};
  };
  for (const PhiloxKey& from : {key, PhiloxKey{1, 2, stored.data()}})
    for (const std::uint64_t part : {std::uint64_t{0}, std::uint64_t{3}, ~std::uint64_t{0}}) {
      fork_key(stream_under_test(), {from, part, once.data()});
      fork_key(stream_under_test(), {{1, 2, once.data()}, 5, twice.data()});
      EXPECT_EQ(once.values(), numbers(key.fork(part)));
      EXPECT_EQ(twice.values(), numbers(key.fork(part).fork(5)));
    }
}

TEST(RandomFill, ElementsDependOnTheirNumberAlone) {
  const Vec few = draw(Distribution::normal, DType::f64, 11, 0, 1).values();
  const Vec many = draw(Distribution::normal, DType::f64, 2000, 0, 1).values();
  for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i], many[i]) << i;
}

TEST(RandomFill, UniformNumbersStayBelowTheOpenEnd) {
  for (const DType dtype : float_dtypes) {
    double low = 1, high = 0, mean = 0;
    const Vec values = draw(Distribution::uniform, dtype, 20000, 0, 1).values();
    for (const double x : values) {
      low = std::min(low, x);
      high = std::max(high, x);
      mean += x / static_cast<double>(values.size());
    }
    EXPECT_GE(low, 0);
    EXPECT_LT(high, 1);
    EXPECT_LT(low, 0.01);
    EXPECT_GT(high, 0.98);
    EXPECT_NEAR(mean, 0.5, 5 * 0.29 / std::sqrt(20000.0)) << to_string(dtype);
  }
}

// Box and Muller's transform in long double, of the same uniform numbers.
TEST(RandomNumbers, NormalNumbersAreAccurate) {
  const auto check = [](double u, double v) {
    const RandomPair got = normal_pair({u, v});
    const long double radius = std::sqrt(-2 * std::log1p(-static_cast<long double>(u)));
    const long double angle = 2 * std::numbers::pi_v<long double> * static_cast<long double>(v);
    const auto size = static_cast<double>(radius);
    // A few units in the last place of the numbers, and of the radius close to the axes, where the
    // angle's own rounding shows.
    EXPECT_NEAR(got.first, static_cast<double>(radius * std::cos(angle)), 5 * 0x1p-53 * size);
    EXPECT_NEAR(got.second, static_cast<double>(radius * std::sin(angle)), 5 * 0x1p-53 * size);
  };
  const double edges[] = {0,   0x1p-53, 0x1p-30, 0.125, 0.25, 0.29289321881345254, 0.375,
                          0.5, 0.625,   0.75,    0.875, 0.99, 1 - 0x1p-30,         1 - 0x1p-53};
  for (const double u : edges)
    for (const double v : edges) check(u, v);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const RandomPair u = uniform_pair(key, i);
    check(u.first, u.second);
  }
}

TEST(RandomFill, NormalNumbersHaveTheirMoments) {
  const Vec values = draw(Distribution::normal, DType::f32, 20000, 2, 3).values();
  double mean = 0, square = 0;
  for (const double x : values) mean += x / static_cast<double>(values.size());
  for (const double x : values)
    square += (x - mean) * (x - mean) / static_cast<double>(values.size());
  EXPECT_NEAR(mean, 2, 5 * 3 / std::sqrt(20000.0));
  EXPECT_NEAR(square, 9, 5 * 9 * std::sqrt(2 / 20000.0));
}

}  // namespace
}  // namespace mettle::test
