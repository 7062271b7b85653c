// Sorted indices and extreme elements of every dtype, against a stable sort of the values on the
// host.
#include "kernels/order.h"

#include <algorithm>
#include <numeric>

#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr Order orders[] = {Order::ascending, Order::descending};

bool before(double x, double y, Order order) {
  if (std::isnan(y)) return !std::isnan(x);
  return order == Order::ascending ? x < y : x > y;
}

std::vector<std::int64_t> sorted_row(const double* x, std::int64_t n, Order order) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  std::sort(all.begin(), all.end(), [&](std::int64_t a, std::int64_t b) {
    if (before(x[a], x[b], order) || before(x[b], x[a], order)) return before(x[a], x[b], order);
    return a < b;
  });
  return all;
}

std::int64_t extreme(const double* x, std::int64_t n, Order order) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n && !std::isnan(x[best]); ++i)
    if (std::isnan(x[i]) || before(x[i], x[best], order)) best = i;
  return best;
}

/// Values with repetitions, zeros of both signs, infinities and NaN where the dtype has them.
Vec mixed(DType dtype, std::int64_t n, unsigned seed) {
  Vec values = random_vec(n, seed, dtype == DType::u8 ? 0 : -60, 60);
  std::mt19937_64 random(seed);
  for (double& x : values) {
    if (random() % 2 == 0) x = std::trunc(x / 8);
    if (!is_floating(dtype)) continue;
    switch (random() % 23) {
      case 0: x = -0.0; break;
      case 1: x = 0.0; break;
      case 2: x = std::numeric_limits<double>::infinity(); break;
      case 3: x = -std::numeric_limits<double>::infinity(); break;
      case 4: x = random() % 2 == 0 ? std::nan("") : -std::nan(""); break;
      default: break;
    }
  }
  return values;
}

struct OrderCase {
  std::int64_t rows, n;
};
const OrderCase cases[] = {{0, 5},    {3, 1},    {4, 2},    {7, 33},  {2, 100},
                           {1, 1000}, {2, 2048}, {3, 2049}, {1, 5000}};

TEST(OrderKernels, SortIsStable) {
  for (const DType dtype : all_dtypes)
    for (const Order order : orders)
      for (const OrderCase& c : cases) {
        const Buffer x(dtype, mixed(dtype, c.rows * c.n, 3));
        const Vec values = x.values();
        // Long lines take a pass per byte: one dtype of each size is enough, and one of 8 bytes.
        const bool few_bytes = dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::i8;
        if (c.n > 2048 && !few_bytes && (dtype != DType::f64 || c.rows > 1)) continue;
        for (const std::int64_t keep : {c.n, (c.n + 1) / 2}) {
          if (c.n > 2048 && keep != c.n && order == Order::ascending) continue;
          const Array<std::int64_t> indices(
              std::vector<std::int64_t>(static_cast<std::size_t>(c.rows * keep), -1));
          sort(stream_under_test(), {dtype, order, c.rows, c.n, keep, x.data(), indices.data()});
          const std::vector<std::int64_t> got = indices.values();
          for (std::int64_t row = 0; row < c.rows; ++row) {
            std::vector<std::int64_t> want = sorted_row(values.data() + row * c.n, c.n, order);
            want.resize(static_cast<std::size_t>(keep));
            const auto begin = got.begin() + row * keep;
            ASSERT_EQ(std::vector<std::int64_t>(begin, begin + keep), want)
                << to_string(dtype) << ", order " << static_cast<int>(order) << ", row " << row
                << " of " << c.rows << " x " << c.n;
          }
        }
      }
}

TEST(OrderKernels, ExtremeElements) {
  for (const DType dtype : all_dtypes)
    for (const Order order : orders)
      for (const OrderCase& c : cases)
        for (const unsigned seed : {1u, 2u}) {
          Vec values = mixed(dtype, c.rows * c.n, seed);
          if (seed == 2)  // no NaN, so that something else wins
            for (double& v : values)
              if (std::isnan(v)) v = 1;
          const Buffer x(dtype, values);
          values = x.values();
          const Array<std::int64_t> index(
              std::vector<std::int64_t>(static_cast<std::size_t>(c.rows), -1));
          arg_extremum(stream_under_test(), {dtype, order, c.rows, c.n, x.data(), index.data()});
          const std::vector<std::int64_t> got = index.values();
          for (std::int64_t row = 0; row < c.rows; ++row)
            ASSERT_EQ(got[static_cast<std::size_t>(row)],
                      extreme(values.data() + row * c.n, c.n, order))
                << to_string(dtype) << ", order " << static_cast<int>(order) << ", row " << row
                << " of " << c.rows << " x " << c.n;
        }
}

TEST(OrderKernels, LargeIntegersAndDoublesKeepTheirDigits) {
  const std::int64_t large = std::int64_t{1} << 62;
  const std::vector<std::int64_t> integers = {large + 1, large,     INT64_MIN, INT64_MAX,
                                              -large,    INT64_MIN, -large - 1};
  const Array<std::int64_t> x(integers), indices(std::vector<std::int64_t>(7));
  sort(stream_under_test(), {DType::i64, Order::ascending, 1, 7, 7, x.data(), indices.data()});
  EXPECT_EQ(indices.values(), (std::vector<std::int64_t>{2, 5, 6, 4, 1, 0, 3}));
  sort(stream_under_test(), {DType::i64, Order::descending, 1, 7, 7, x.data(), indices.data()});
  EXPECT_EQ(indices.values(), (std::vector<std::int64_t>{3, 0, 1, 4, 6, 2, 5}));
  arg_extremum(stream_under_test(), {DType::i64, Order::ascending, 1, 7, x.data(), indices.data()});
  EXPECT_EQ(indices.values()[0], 2);
}

}  // namespace
}  // namespace mettle::test
