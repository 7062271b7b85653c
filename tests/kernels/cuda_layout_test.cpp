// The index mathematics of the CUDA kernels, on the host: divisions made multiplications, and
// offsets in 32 and in 64 bits, of tensors larger than any test could hold.
#include "kernels/cuda/layout.h"

#include <gtest/gtest.h>

#include <random>

namespace mettle::test {
namespace {

using namespace kernels;
using namespace kernels::cuda;

TEST(CudaLayout, DividesLikeDivision) {
  std::mt19937_64 random(1);
  constexpr std::int64_t narrow_limit = std::int64_t{1} << 31, limit = INT64_MAX;
  for (int i = 0; i < 20000; ++i) {
    // Divisors and numerators of every size, and those next to multiples.
    const auto d =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(random() >> (1 + random() % 62)));
    const Divider divide(d);
    for (const std::int64_t n : {std::int64_t{0}, d - 1, d, limit, limit / d * d, limit / d * d - 1,
                                 static_cast<std::int64_t>(random() >> (1 + random() % 62))})
      ASSERT_EQ(divide(n), n / d) << n << " / " << d;
    if (d >= narrow_limit) continue;
    for (const std::int64_t n :
         {std::int64_t{0}, d - 1, d, narrow_limit - 1, narrow_limit / d * d - 1,
          static_cast<std::int64_t>(random() >> (33 + random() % 30))})
      ASSERT_EQ(divide(static_cast<std::int32_t>(n)), n / d) << n << " / " << d;
  }
  for (std::int32_t d = 1; d <= 300; ++d)
    for (std::int32_t n = 0; n <= 1000; ++n) ASSERT_EQ(Divider(d)(n), n / d);
}

TEST(CudaLayout, OffsetsOfSmallAndOfLargeTensors) {
  struct Case {
    Shape shape;
    Strides x, y;
    bool narrow;
  };
  const Case cases[] = {
      {{4, 6, 5}, {30, 5, 1}, {1, 20, 4}, true},
      {{7, 300}, {-300, 1}, {0, 1}, true},
      {{70000, 70000}, {70000, 1}, {1, 70000}, false},
      {{8, 9}, {std::int64_t{1} << 40, 1}, {9, 1}, false},
      {{3, std::int64_t{1} << 31}, {-(std::int64_t{1} << 31), 1}, {1, 3}, false},
  };
  std::mt19937_64 random(2);
  for (const Case& c : cases) {
    const StridedIndex<2> index = strided_index(collapse<2>(c.shape, {&c.x, &c.y}));
    EXPECT_EQ(index.narrow, c.narrow);
    EXPECT_EQ(index.total, numel(c.shape));
    for (int i = 0; i < 1000; ++i) {
      const auto number =
          static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(index.total));
      std::int64_t want[2] = {0, 0}, rest = number;
      for (int axis = c.shape.rank() - 1; axis >= 0; --axis) {
        want[0] += rest % c.shape[axis] * c.x[axis];
        want[1] += rest % c.shape[axis] * c.y[axis];
        rest /= c.shape[axis];
      }
      std::int64_t got[2];
      index.offsets(number, got);
      ASSERT_EQ(got[0], want[0]) << number;
      ASSERT_EQ(got[1], want[1]) << number;
    }
  }
}

}  // namespace
}  // namespace mettle::test
