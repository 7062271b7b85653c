// Copies between every two dtypes and through every kind of strides, and fills.
#include "kernels/copy.h"

#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct CopyCase {
  const char* name;
  Shape shape;
  Strides x, y;
  std::int64_t misaligned = 0;
};

const CopyCase cases[] = {
    {"scalar", {}, {}, {}},
    {"empty", {0, 4}, {4, 1}, {4, 1}},
    {"dense", {6, 64}, {64, 1}, {64, 1}},
    {"dense, odd", {3001}, {1}, {1}},
    {"dense, misaligned", {1003}, {1}, {1}, 1},
    {"constant", {500}, {0}, {1}},
    {"rows for all", {5, 48}, {0, 1}, {48, 1}},
    {"columns for all", {5, 48}, {1, 0}, {48, 1}},
    {"short rows", {30, 10}, {12, 1}, {10, 1}},
    {"slice of rows", {7, 32}, {80, 1}, {32, 1}},
    {"into a slice", {7, 32}, {32, 1}, {80, 1}},
    {"transposed", {100, 70}, {1, 100}, {70, 1}},
    {"into a transposed one", {100, 70}, {70, 1}, {1, 100}},
    {"both transposed", {50, 33}, {1, 50}, {1, 50}},
    {"thin transposed", {300, 3}, {1, 300}, {3, 1}},
    {"batch of transposed", {3, 65, 33}, {65 * 33, 1, 65}, {65 * 33, 33, 1}},
    {"heads", {2, 9, 3, 16}, {9 * 48, 16, 9 * 16, 1}, {9 * 48, 48, 16, 1}},
    {"channels last", {2, 10, 4, 5}, {200, 1, 50, 10}, {200, 20, 5, 1}},
    {"reversed", {9, 40}, {-40, -1}, {40, 1}},
    {"every third", {200}, {3}, {2}},
    {"many axes", {2, 2, 3, 2, 2, 3}, {1, 2, 4, 12, 24, 48}, {72, 36, 12, 6, 3, 1}},
};

double converted(double x, DType from, DType to) {
  double want = 0;
  dispatch_any(to, [&]<class T>() {
    if constexpr (std::is_same_v<T, bool>)
      want = x != 0;
    else if constexpr (std::is_integral_v<T>)
      want = std::trunc(x);
    else
      want = static_cast<double>(static_cast<T>(x));
  });
  (void)from;
  return want;
}

class Copy : public testing::Test {
 protected:
  void check(const CopyCase& c, DType from, DType to) {
    const bool whole = from == DType::u8 || to == DType::u8;
    const Operand x(from, c.shape, c.x, 1, whole ? 0 : -9, 9, c.misaligned);
    Operand y(to, c.shape, c.y, 2, 0, 9, c.misaligned);
    copy(stream_under_test(), {x.data(), y.data(), from, to, c.shape, c.x, c.y});
    y.refresh();
    for_each_index(c.shape, [&](std::int64_t, const Shape& index) {
      ASSERT_EQ(y.at(index), converted(x.at(index), from, to))
          << c.name << ": " << to_string(from) << " to " << to_string(to);
    });
  }
};

TEST_F(Copy, ThroughAllStrides) {
  for (const DType dtype : all_dtypes)
    for (const CopyCase& c : cases) check(c, dtype, dtype);
}

TEST_F(Copy, BetweenAllDtypes) {
  for (const DType from : all_dtypes)
    for (const DType to : all_dtypes)
      for (const char* name : {"dense, odd", "slice of rows", "into a slice", "transposed"})
        for (const CopyCase& c : cases)
          if (std::string_view(c.name) == name) check(c, from, to);
}

TEST_F(Copy, LeavesWhatLiesBetweenTheRows) {
  Buffer y(DType::f32, Vec(7 * 10, 3.0));
  const Buffer x(DType::f32, Vec(7 * 4, 1.0));
  copy(stream_under_test(), {x.data(), y.data(), DType::f32, DType::f32, {7, 4}, {4, 1}, {10, 1}});
  const Vec got = y.values();
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], i % 10 < 4 ? 1.0 : 3.0) << i;
}

TEST_F(Copy, LargeIntegersKeepTheirDigits) {
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  const Array<std::int64_t> x({large, -large, (std::int64_t{1} << 24) + 1});
  Array<std::int64_t> same({0, 0, 0});
  Array<float> single({0, 0, 0});
  Array<std::int32_t> low({0, 0, 0});
  for (const std::int64_t stride : {1, 0}) {
    const std::int64_t n = stride == 0 ? 1 : 3;
    copy(stream_under_test(), {x.data(), same.data(), DType::i64, DType::i64, {n}, {stride}, {1}});
    copy(stream_under_test(),
         {x.data(), single.data(), DType::i64, DType::f32, {n}, {stride}, {1}});
    copy(stream_under_test(), {x.data(), low.data(), DType::i64, DType::i32, {n}, {stride}, {1}});
  }
  EXPECT_EQ(same.values(), x.values());
  EXPECT_EQ(single.values(), (std::vector<float>{0x1p53f, -0x1p53f, 0x1p24f}));
  EXPECT_EQ(low.values(), (std::vector<std::int32_t>{1, -1, (1 << 24) + 1}));
}

TEST(Fill, EveryDtypeFromAnyAddress) {
  for (const DType dtype : all_dtypes)
    for (const std::int64_t n : {0, 1, 15, 16, 1000, 4099})
      for (const std::int64_t misaligned : {0, 1, 3}) {
        Buffer y(dtype, n, misaligned);
        fill(stream_under_test(), {y.data(), dtype, n, 2.0});
        for (const double got : y.values())
          ASSERT_EQ(got, dtype == DType::boolean ? 1.0 : 2.0) << to_string(dtype) << " of " << n;
      }
}

TEST(Arange, CountsFromZero) {
  for (const std::int64_t n : {0, 1, 255, 256, 5000}) {
    Buffer y(DType::i64, n);
    arange(stream_under_test(), {y.as<std::int64_t>(), n});
    const Vec got = y.values();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], static_cast<double>(i)) << "of " << n;
  }
}

}  // namespace
}  // namespace mettle::test
