// Sums and extrema over every choice of axes and strides, against plain loops in f64; the same bits
// in every run.
#include "kernels/reduce.h"

#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr DType reduced_dtypes[] = {DType::f64, DType::f32, DType::bf16,
                                    DType::f16, DType::i64, DType::i32};

struct ReduceCase {
  const char* name;
  Shape shape;
  Strides strides;
  std::uint32_t reduced;
  std::int64_t misaligned = 0;
};

const ReduceCase cases[] = {
    {"scalar", {}, {}, 0},
    {"nothing reduced", {5, 7}, {7, 1}, 0},
    {"all", {4099}, {1}, 1},
    {"all, misaligned", {3000}, {1}, 1, 1},
    {"few", {5}, {1}, 1},
    {"all of two axes", {40, 65}, {72, 1}, 3},
    {"long", {40000}, {1}, 1},
    {"every other", {5000}, {2}, 1},
    {"reversed", {5000}, {-1}, 1},
    {"one for all", {700}, {0}, 1},
    {"short rows", {300, 5}, {5, 1}, 2},
    {"rows of packs", {50, 64}, {64, 1}, 2},
    {"odd rows", {50, 61}, {61, 1}, 2},
    {"padded rows", {9, 400}, {408, 1}, 2},
    {"long rows", {3, 9000}, {9000, 1}, 2},
    {"columns", {70, 128}, {128, 1}, 1},
    {"odd columns", {33, 45}, {45, 1}, 1},
    {"many columns", {17, 1000}, {1000, 1}, 1},
    {"long columns", {9000, 12}, {12, 1}, 1},
    {"two columns", {3000, 2}, {2, 1}, 1},
    {"one column", {3000, 1}, {1, 1}, 1},
    {"transposed", {30, 41}, {1, 30}, 1},
    {"transposed rows", {30, 41}, {1, 30}, 2},
    {"middle", {6, 50, 8}, {400, 8, 1}, 2},
    {"ends", {6, 50, 8}, {400, 8, 1}, 5},
    {"ends, long", {5, 3, 2000}, {6000, 2000, 1}, 5},
    {"columns repeat", {20, 30}, {0, 1}, 1},
    {"rows repeat", {20, 30}, {1, 0}, 2},
    {"many axes", {2, 3, 4, 2, 3, 5}, {360, 120, 30, 15, 5, 1}, 0b010110},
    {"nothing to sum", {4, 0}, {1, 1}, 2},
    {"no results", {0, 4}, {4, 1}, 2},
};

Shape kept_shape(const ReduceCase& c) {
  Shape kept;
  for (int axis = 0; axis < c.shape.rank(); ++axis)
    if ((c.reduced >> axis & 1u) == 0) kept.push_back(c.shape[axis]);
  return kept;
}

struct Wanted {
  Vec values, sizes;  // sizes: sums of magnitudes
};

Wanted by_loops(const ReduceCase& c, ReduceOp op, const Operand& x) {
  const Shape kept = kept_shape(c);
  const Strides strides = contiguous_strides(kept);
  const double infinity = std::numeric_limits<double>::infinity();
  const double start = op == ReduceOp::sum ? 0 : op == ReduceOp::max ? -infinity : infinity;
  Wanted w{Vec(static_cast<std::size_t>(numel(kept)), start),
           Vec(static_cast<std::size_t>(numel(kept)), 0)};
  for_each_index(c.shape, [&](std::int64_t, const Shape& index) {
    std::int64_t at = 0;
    int next = 0;
    for (int axis = 0; axis < c.shape.rank(); ++axis)
      if ((c.reduced >> axis & 1u) == 0) at += index[axis] * strides[next++];
    const double value = x.at(index);
    double& held = w.values[static_cast<std::size_t>(at)];
    if (op == ReduceOp::sum)
      held += value;
    else
      held = op == ReduceOp::max ? std::max(held, value) : std::min(held, value);
    w.sizes[static_cast<std::size_t>(at)] += std::abs(value);
  });
  return w;
}

Buffer reduced(const ReduceCase& c, ReduceOp op, DType dtype, const Operand& x) {
  Buffer y(dtype, numel(kept_shape(c)), c.misaligned);
  reduce(stream_under_test(), {op, dtype, x.data(), y.data(), c.shape, c.strides, c.reduced});
  return y;
}

TEST(Reduce, EqualsPlainLoops) {
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min})
    for (const DType dtype : reduced_dtypes)
      for (const ReduceCase& c : cases) {
        if (op != ReduceOp::sum && numel(c.shape) == 0) continue;
        const bool integers = !is_floating(dtype);
        const Operand x(dtype, c.shape, c.strides, 1, integers ? -50 : -1, integers ? 50 : 1,
                        c.misaligned);
        const Buffer y = reduced(c, op, dtype, x);
        const Wanted want = by_loops(c, op, x);
        const Vec got = y.values();
        ASSERT_EQ(got.size(), want.values.size());
        // No element passes through more additions than a thread makes, and the levels of a tree.
        const double additions = 300;
        for (std::size_t i = 0; i < got.size(); ++i) {
          double tolerance = 0;
          if (!integers && op == ReduceOp::sum)
            tolerance = additions * rounding(statistics_dtype(dtype)) * want.sizes[i] +
                        rounding(dtype) * std::abs(want.values[i]);
          ASSERT_NEAR(got[i], want.values[i], tolerance)
              << c.name << ", " << to_string(dtype) << ", op " << static_cast<int>(op)
              << ", output " << i;
        }
      }
}

TEST(Reduce, SameBitsInEveryRun) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const ReduceCase& c : cases) {
      const Operand x(dtype, c.shape, c.strides, 7, -1, 1, c.misaligned);
      EXPECT_EQ(reduced(c, ReduceOp::sum, dtype, x), reduced(c, ReduceOp::sum, dtype, x)) << c.name;
    }
}

TEST(Reduce, ExtremaOfNotANumber) {
  for (const DType dtype : float_dtypes)
    for (const std::int64_t n : {3, 70, 3000})
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1})
        for (const ReduceOp op : {ReduceOp::max, ReduceOp::min}) {
          Vec values = random_vec(2 * n, 1);
          values[static_cast<std::size_t>(n + at)] = std::nan("");
          const Buffer x(dtype, values);
          Buffer rows(dtype, 2), column(dtype, n);
          reduce(stream_under_test(), {op, dtype, x.data(), rows.data(), {2, n}, {n, 1}, 2});
          reduce(stream_under_test(), {op, dtype, x.data(), column.data(), {2, n}, {n, 1}, 1});
          EXPECT_FALSE(std::isnan(rows.values()[0]));
          EXPECT_TRUE(std::isnan(rows.values()[1]));
          const Vec got = column.values();
          for (std::int64_t i = 0; i < n; ++i)
            ASSERT_EQ(std::isnan(got[static_cast<std::size_t>(i)]), i == at) << i;
        }
}

TEST(Reduce, InfinitiesAndLargeIntegers) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : float_dtypes) {
    const Buffer x(dtype, Vec(40, -infinity));
    Buffer y(dtype, 1);
    reduce(stream_under_test(), {ReduceOp::max, dtype, x.data(), y.data(), {40}, {1}, 1});
    EXPECT_EQ(y.values()[0], -infinity);
  }
  const std::int64_t large = (std::int64_t{1} << 62) + 3;
  const Array<std::int64_t> x(std::vector<std::int64_t>(6, large));
  Array<std::int64_t> sum({0});
  reduce(stream_under_test(), {ReduceOp::sum, DType::i64, x.data(), sum.data(), {6}, {1}, 1});
  EXPECT_EQ(sum.values()[0], static_cast<std::int64_t>(6 * static_cast<std::uint64_t>(large)));
  const Array<std::int64_t> lowest({INT64_MIN, INT64_MIN});
  reduce(stream_under_test(), {ReduceOp::max, DType::i64, lowest.data(), sum.data(), {2}, {1}, 1});
  EXPECT_EQ(sum.values()[0], INT64_MIN);
}

}  // namespace
}  // namespace mettle::test
