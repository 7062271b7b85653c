// The elementwise kernels on every layout of operands and every dtype, against the scalar functions
// in f64.
#include "kernels/elementwise.h"

#include "kernels/scalar_functions.h"
#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr DType integer_dtypes[] = {DType::i64, DType::i32};

/// One rounding of the dtype, some units of the type in which it was computed, relative to `size`
/// or to the result.
void expect_number(double got, double want, DType dtype, double size, const std::string& what) {
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(got)) << what;
    return;
  }
  const double unit = 8 * rounding(statistics_dtype(dtype));
  const double absolute = unit * size + (dtype == DType::f16 ? 0x1p-25 : 0);  // subnormal numbers
  const double near = (unit + rounding(dtype)) * std::abs(want) + absolute;
  ASSERT_NEAR(got, want, near) << what;
}

std::string describe(const StridedCase& c, DType dtype, int op) {
  return std::string(c.name) + ", " + std::string(to_string(dtype)) + ", op " + std::to_string(op);
}

class Elementwise : public testing::Test {
 protected:
  const std::vector<StridedCase> cases_ = strided_cases();
};

TEST_F(Elementwise, FunctionsOfOne) {
  for (int number = 0; number <= static_cast<int>(UnaryOp::power); ++number) {
    const auto op = static_cast<UnaryOp>(number);
    for (const DType dtype : float_dtypes)
      for (const StridedCase& c : cases_) {
        const bool positive = op == UnaryOp::power || op == UnaryOp::rsqrt || op == UnaryOp::log;
        const Operand x(dtype, c.shape, c.strides[0], 1, positive ? 0.1 : -0.9, 3, c.misaligned);
        Buffer y(dtype, numel(c.shape), c.misaligned);
        // Exact in every dtype.
        unary(stream_under_test(),
              {op, dtype, x.data(), y.data(), c.shape, x.strides(), 1.5, 0.25});
        const Vec got = y.values();
        for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
          double want = 0;
          scalar::with_unary<double>(op, 1.5, 0.25, [&](const auto& f) { want = f(x.at(index)); });
          const double size = op == UnaryOp::affine ? 5 : 0;
          expect_number(got[static_cast<std::size_t>(i)], want, dtype, size,
                        describe(c, dtype, number));
        });
      }
  }
}

TEST_F(Elementwise, IntegersOfOne) {
  for (const UnaryOp op : {UnaryOp::affine, UnaryOp::abs, UnaryOp::sign})
    for (const DType dtype : integer_dtypes)
      for (const StridedCase& c : cases_) {
        const Operand x(dtype, c.shape, c.strides[0], 1, -9, 9, c.misaligned);
        Buffer y(dtype, numel(c.shape), c.misaligned);
        unary(stream_under_test(),
              {op, dtype, x.data(), y.data(), c.shape, x.strides(), 3.0, -2.0});
        const Vec got = y.values();
        for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
          const auto v = static_cast<std::int64_t>(x.at(index));
          const auto want = scalar::IntegerUnary<std::int64_t>{op, 3, -2}(v);
          ASSERT_EQ(got[static_cast<std::size_t>(i)], static_cast<double>(want))
              << describe(c, dtype, static_cast<int>(op));
        });
      }
}

TEST_F(Elementwise, FunctionsOfTwo) {
  for (int number = 0; number <= static_cast<int>(BinaryOp::sigmoid_backward); ++number) {
    const auto op = static_cast<BinaryOp>(number);
    for (const DType dtype : float_dtypes)
      for (const StridedCase& c : cases_) {
        const Operand a(dtype, c.shape, c.strides[0], 1, 0.25, 2, c.misaligned);
        const Operand b(dtype, c.shape, c.strides[1], 2, 0.25, 2, c.misaligned);
        Buffer y(dtype, numel(c.shape), c.misaligned);
        binary(stream_under_test(),
               {op, dtype, a.data(), b.data(), y.data(), c.shape, a.strides(), b.strides()});
        const Vec got = y.values();
        for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
          double want = 0;
          scalar::with_binary(op, [&](const auto& f) { want = f(a.at(index), b.at(index)); });
          expect_number(got[static_cast<std::size_t>(i)], want, dtype, 4,
                        describe(c, dtype, number));
        });
      }
  }
}

TEST_F(Elementwise, IntegersOfTwo) {
  for (int number = 0; number <= static_cast<int>(BinaryOp::minimum); ++number) {
    const auto op = static_cast<BinaryOp>(number);
    for (const DType dtype : integer_dtypes)
      for (const StridedCase& c : cases_) {
        const Operand a(dtype, c.shape, c.strides[0], 1, -90, 90, c.misaligned);
        const Operand b(dtype, c.shape, c.strides[1], 2, 1, 9, c.misaligned);
        Buffer y(dtype, numel(c.shape), c.misaligned);
        binary(stream_under_test(),
               {op, dtype, a.data(), b.data(), y.data(), c.shape, a.strides(), b.strides()});
        const Vec got = y.values();
        for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
          const auto p = static_cast<std::int64_t>(a.at(index));
          const auto q = static_cast<std::int64_t>(b.at(index));
          const std::int64_t want = op == BinaryOp::div
                                        ? scalar::integer_quotient(p, q)
                                        : scalar::IntegerBinary<std::int64_t>{op}(p, q);
          ASSERT_EQ(got[static_cast<std::size_t>(i)], static_cast<double>(want))
              << describe(c, dtype, number);
        });
      }
  }
}

TEST_F(Elementwise, DivisionOfIntegersByZeroIsAnError) {
  const Operand a(DType::i64, {3000}, {1}, 1, 1, 9);
  Vec divisors(3000, 1);
  divisors[2047] = 0;
  const Buffer b(DType::i64, divisors);
  Buffer y(DType::i64, 3000);
  expect_refused("div: integer division by zero at element 2047", [&] {
    binary(stream_under_test(),
           {BinaryOp::div, DType::i64, a.data(), b.data(), y.data(), {3000}, {1}, {1}});
  });
  // The smallest integer by -1 wraps around.
  const Array<std::int32_t> low({INT32_MIN, 7}), minus({-1, -1});
  Array<std::int32_t> quotient({0, 0});
  binary(stream_under_test(),
         {BinaryOp::div, DType::i32, low.data(), minus.data(), quotient.data(), {2}, {1}, {1}});
  EXPECT_EQ(quotient.values(), (std::vector<std::int32_t>{INT32_MIN, -7}));
}

TEST_F(Elementwise, ResultsMayReplaceAnOperand) {
  for (const DType dtype : float_dtypes) {
    const Vec values = random_vec(1037, 3);
    Buffer a(dtype, values), b(dtype, random_vec(1037, 4));
    const Vec x = a.values(), z = b.values();
    binary(stream_under_test(),
           {BinaryOp::sub, dtype, a.data(), b.data(), b.data(), {1037}, {1}, {1}});
    const Vec got = b.values();
    for (std::size_t i = 0; i < x.size(); ++i)
      expect_number(got[i], x[i] - z[i], dtype, 1, "in place");
  }
}

TEST_F(Elementwise, Comparisons) {
  for (int number = 0; number <= static_cast<int>(CompareOp::ge); ++number) {
    const auto op = static_cast<CompareOp>(number);
    for (const DType dtype : all_dtypes)
      for (const StridedCase& c : cases_) {
        // Few values, so that many are equal.
        const double low = dtype == DType::u8 ? 0 : -1.4;
        const Operand a(dtype, c.shape, c.strides[0], 1, low, 2, c.misaligned);
        const Operand b(dtype, c.shape, c.strides[1], 2, low, 2, c.misaligned);
        Buffer y(DType::boolean, numel(c.shape), c.misaligned);
        compare(stream_under_test(),
                {op, dtype, a.data(), b.data(), y.data(), c.shape, a.strides(), b.strides()});
        const Vec got = y.values();
        for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
          const bool want = scalar::Compare{op}(a.at(index), b.at(index));
          ASSERT_EQ(got[static_cast<std::size_t>(i)], want) << describe(c, dtype, number);
        });
      }
  }
}

TEST_F(Elementwise, NothingEqualsNotANumber) {
  const double nan = std::nan("");
  for (const DType dtype : float_dtypes) {
    const Buffer a(dtype, Vec{nan, 1, nan, 2}), b(dtype, Vec{nan, nan, 1, 2});
    Buffer y(DType::boolean, 4);
    for (int op = 0; op <= static_cast<int>(CompareOp::ge); ++op) {
      const auto which = static_cast<CompareOp>(op);
      compare(stream_under_test(), {which, dtype, a.data(), b.data(), y.data(), {4}, {1}, {1}});
      const double nans = which == CompareOp::ne;
      EXPECT_EQ(y.values(), (Vec{nans, nans, nans, double(scalar::Compare{which}(2.0, 2.0))}));
    }
  }
}

TEST_F(Elementwise, Choices) {
  for (const DType dtype : all_dtypes)
    for (const StridedCase& c : cases_) {
      const Operand which(DType::boolean, c.shape, c.strides[1], 1, -1, 1, c.misaligned);
      const double low = dtype == DType::u8 ? 0 : -9;
      const Operand a(dtype, c.shape, c.strides[0], 2, low, 9, c.misaligned);
      const Operand b(dtype, c.shape, c.strides[2], 3, low, 9, c.misaligned);
      Buffer y(dtype, numel(c.shape), c.misaligned);
      where(stream_under_test(), {dtype, which.data(), a.data(), b.data(), y.data(), c.shape,
                                  which.strides(), a.strides(), b.strides()});
      const Vec got = y.values();
      for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
        ASSERT_EQ(got[static_cast<std::size_t>(i)], (which.at(index) != 0 ? a : b).at(index))
            << describe(c, dtype, 0);
      });
    }
}

TEST_F(Elementwise, SumsWithProducts) {
  for (const DType dtype : float_dtypes)
    for (const StridedCase& c : cases_) {
      const Operand x(dtype, c.shape, c.strides[0], 1, -1, 1, c.misaligned);
      const Operand a(dtype, c.shape, c.strides[1], 2, -1, 1, c.misaligned);
      const Operand b(dtype, c.shape, c.strides[2], 3, -1, 1, c.misaligned);
      Buffer y(dtype, numel(c.shape), c.misaligned);
      addcmul(stream_under_test(), {dtype, x.data(), a.data(), b.data(), y.data(), c.shape,
                                    x.strides(), a.strides(), b.strides(), -0.75});
      const Vec got = y.values();
      for_each_index(c.shape, [&](std::int64_t i, const Shape& index) {
        const double want = x.at(index) - 0.75 * a.at(index) * b.at(index);
        expect_number(got[static_cast<std::size_t>(i)], want, dtype, 1, describe(c, dtype, 0));
      });
    }
}

TEST_F(Elementwise, RefusesIntegersWhereOnlyNumbersMakeSense) {
  EXPECT_THROW(unary(stream_under_test(), {UnaryOp::exp, DType::i64, nullptr, nullptr, {0}, {1}}),
               DTypeError);
  EXPECT_THROW(binary(stream_under_test(),
                      {BinaryOp::power, DType::i32, nullptr, nullptr, nullptr, {0}, {1}, {1}}),
               DTypeError);
  EXPECT_THROW(
      unary(stream_under_test(), {UnaryOp::abs, DType::boolean, nullptr, nullptr, {0}, {1}}),
      DTypeError);
}

}  // namespace
}  // namespace mettle::test
