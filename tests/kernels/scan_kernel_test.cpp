// Running sums against plain loops in f64; the same bits in every run.
#include "kernels/scan.h"

#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct ScanCase {
  std::int64_t outer, n, inner;
};
const ScanCase cases[] = {{0, 4, 1},    {2, 0, 3},     {1, 1, 1},     {3, 7, 5},
                          {1, 33, 1},   {2, 100, 1},   {5, 50, 9},    {1, 1500, 2},
                          {2, 1024, 1}, {1, 12345, 1}, {1, 40, 20000}};

constexpr DType scanned_dtypes[] = {DType::f64, DType::f32, DType::bf16,
                                    DType::f16, DType::i64, DType::i32};

Buffer scanned(const ScanCase& c, DType dtype, const Buffer& x) {
  Buffer y(dtype, c.outer * c.n * c.inner);
  cumsum(stream_under_test(), {dtype, c.outer, c.n, c.inner, x.data(), y.data()});
  return y;
}

TEST(Cumsum, EqualsPlainLoops) {
  for (const DType dtype : scanned_dtypes)
    for (const ScanCase& c : cases) {
      if (c.outer * c.n * c.inner > 100000 && dtype != DType::f32) continue;  // once is enough
      const double width = is_floating(dtype) ? 1 : 9;
      const Buffer x(dtype, random_vec(c.outer * c.n * c.inner, 5, -width, width));
      const Buffer y = scanned(c, dtype, x);
      const Vec in = x.values(), got = y.values();
      for (std::int64_t o = 0; o < c.outer; ++o)
        for (std::int64_t j = 0; j < c.inner; ++j) {
          double sum = 0, size = 0;
          for (std::int64_t i = 0; i < c.n; ++i) {
            const auto at = static_cast<std::size_t>((o * c.n + i) * c.inner + j);
            sum += in[at];
            size += std::abs(in[at]);
            // The CPU adds one after the other.
            const double additions = static_cast<double>(i);
            const double tolerance = is_floating(dtype)
                                         ? additions * rounding(statistics_dtype(dtype)) * size +
                                               rounding(dtype) * std::abs(sum)
                                         : 0;
            ASSERT_NEAR(got[at], sum, tolerance)
                << to_string(dtype) << " " << c.outer << " x " << c.n << " x " << c.inner << " at "
                << o << ", " << i << ", " << j;
          }
        }
      EXPECT_EQ(y, scanned(c, dtype, x));
    }
}

TEST(Cumsum, AnInfinitySpoilsOnlyWhatFollows) {
  for (const std::int64_t n : {20, 3000, 9000}) {
    Vec values(static_cast<std::size_t>(n), 1.0);
    const std::size_t at = values.size() / 2;
    values[at] = std::numeric_limits<double>::infinity();
    const Buffer x(DType::f32, values);
    const Vec got = scanned({1, n, 1}, DType::f32, x).values();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], i < at ? static_cast<double>(i + 1) : values[at]) << i << " of " << n;
  }
}

TEST(Cumsum, IntegersWrapAround) {
  const std::int64_t large = std::int64_t{1} << 62;
  const Array<std::int64_t> x({large, large, large, large}), y({0, 0, 0, 0});
  cumsum(stream_under_test(), {DType::i64, 1, 4, 1, x.data(), y.data()});
  EXPECT_EQ(y.values(), (std::vector<std::int64_t>{large, INT64_MIN, -large, 0}));
}

}  // namespace
}  // namespace mettle::test
