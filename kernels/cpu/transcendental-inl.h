// exp, log1p, tanh, erf and the normal distribution on vectors of f32 or f64, each over the range
// that the kernels need, without branches or tables.
//
// Polynomials: Chebyshev interpolants of the functions named at each table, computed with 50 digits
// by scripts/fit_polynomials.py; lowest power first.
#if defined(METTLE_KERNELS_CPU_TRANSCENDENTAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_TRANSCENDENTAL_INL_H_
#undef METTLE_KERNELS_CPU_TRANSCENDENTAL_INL_H_
#else
#define METTLE_KERNELS_CPU_TRANSCENDENTAL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/polynomials.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class A> struct ExpTable;
template <> struct ExpTable<float> {
  static constexpr float lowest = -87.3f;  // below, exp is not a normal number: 0
  static constexpr float log2_e = 1.44269504f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float shifter =
      0x1.8p23f + 127;  // adding it rounds to an integer + exponent bias
  static constexpr int mantissa_bits = 23;
  // (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2
  static constexpr float coefficients[] = {0.5f, 0.1666657703f, 0.04166655466f, 0.008363173075f,
                                           0.001392617612f};
};
template <> struct ExpTable<double> {
  static constexpr double lowest = -708;
  static constexpr double log2_e = 1.4426950408889634;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double shifter = 0x1.8p52 + 1023;
  static constexpr int mantissa_bits = 52;
  static constexpr double coefficients[] = {
      0.5,
      0.1666666666666667099,
      0.04166666666666666975,
      0.008333333333326140884,
      0.001388888888888375242,
      0.0001984126987480049198,
      0.00002480158732553336382,
      2.755725542574643428e-6,
      2.755727366134863622e-7,
      2.510520637395701112e-8,
      2.09146793765839351e-9,
  };
};

/// exp(-y / 2) = 1 + y p(y) on |y| <= ln(2). Relative errors of p: 1.2e-8 and 3e-19.
template <class A> struct BellTable;
template <> struct BellTable<float> {
  static constexpr float coefficients[] = {
      -0.5000000054f,  0.1250000003f,     -0.02083313158f,
      0.002604154063f, -0.0002615358903f, 2.177131411e-5f,
  };
};
template <> struct BellTable<double> {
  static constexpr double coefficients[] = {
      -0.4999999999999999999,    0.125,
      -0.02083333333333335101,   0.002604166666666667298,
      -0.0002604166666662375191, 0.00002170138888887356538,
      -1.550099210159930758e-6,  9.68812005328957913e-8,
      -5.382273616909955044e-9,  2.691138994284643996e-10,
      -1.226076054978700084e-11, 5.106965198966568783e-13,
  };
};

/// erf(x) / x as a polynomial in x^2 on [0, 1].
template <class A> struct ErfTable;
template <> struct ErfTable<float> {
  static constexpr float coefficients[] = {
      1.128379167f,    -0.3761263847f,    0.112837825f,     -0.02686543073f,
      0.005221031808f, -0.0008484080406f, 0.0001126595903f, -9.667044571e-6f,
  };
};
template <> struct ErfTable<double> {
  static constexpr double coefficients[] = {
      1.128379167095512574,     -0.3761263890318375238,     0.1128379167095512024,
      -0.02686617064512984081,  0.005223977625423298309,    -0.0008548327021934829596,
      0.0001205533290288873541, -0.00001492564756751933213, 1.646204544146841894e-6,
      -1.63646421581676153e-7,  1.4792401209404813e-8,      -1.216456005728345008e-9,
      8.70904512905310669e-11,  -4.230945824295337817e-12,
  };
};

template <class D, class V, std::size_t N>
HWY_INLINE V horner(D d, V x, const hn::TFromD<D> (&coefficients)[N]) {
  V y = hn::Set(d, coefficients[N - 1]);
#pragma GCC unroll 32
  for (std::size_t i = N - 1; i > 0; --i) y = hn::MulAdd(y, x, hn::Set(d, coefficients[i - 1]));
  return y;
}

/// exp(x) = (1 + rest) power with a power of two and |rest| below 0.42, for |x| <= 88 (f64: 709).
template <class V> struct ExpParts { V rest, power; };

template <class D> HWY_INLINE ExpParts<hn::Vec<D>> exp_parts(D d, hn::Vec<D> x) {
  using Table = ExpTable<hn::TFromD<D>>;
  const hn::RebindToUnsigned<D> du;
  const auto shifter = hn::Set(d, Table::shifter);
  const auto shifted = hn::MulAdd(x, hn::Set(d, Table::log2_e), shifter);
  const auto n = hn::Sub(shifted, shifter);
  const auto r = hn::NegMulAdd(n, hn::Set(d, Table::ln2_low),
                               hn::NegMulAdd(n, hn::Set(d, Table::ln2_high), x));
  const auto p = horner(d, r, Table::coefficients);
  return {hn::MulAdd(hn::Mul(r, r), p, r),
          hn::BitCast(d, hn::ShiftLeft<Table::mantissa_bits>(hn::BitCast(du, shifted)))};
}

/// exp(x) for x <= 0 (and up to 88 or 709), 0 where it would not be a normal number. NaN stays NaN.
template <class D> HWY_INLINE hn::Vec<D> exp_of_nonpositive(D d, hn::Vec<D> x) {
  using A = hn::TFromD<D>;
  const auto [rest, power] = exp_parts(d, x);
  const auto e = hn::Add(hn::Set(d, A{1}), rest);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, ExpTable<A>::lowest)), hn::Mul(e, power));
}

/// tanh(x) for every x: t / (t + 2) with t = exp(2 |x|) - 1, which keeps its digits near 0 because
/// power - 1 is exact. NaN stays NaN.
template <class D> HWY_INLINE hn::Vec<D> tanh_of(D d, hn::Vec<D> x) {
  using A = hn::TFromD<D>;
  const auto one = hn::Set(d, A{1});
  const auto far = hn::Set(d, sizeof(A) == 4 ? A{20} : A{44});  // 1 beyond half of it
  const auto twice = hn::Abs(hn::Add(x, x));
  const auto [rest, power] = exp_parts(d, hn::IfThenElse(hn::Gt(twice, far), far, twice));
  const auto t = hn::MulAdd(rest, power, hn::Sub(power, one));
  return hn::CopySign(hn::Div(t, hn::Add(t, hn::Set(d, A{2}))), x);
}

/// log(1 + z) for z in [0, 1], with a small relative error also for tiny z.
template <class D> HWY_INLINE hn::Vec<D> log1p_of_unit(D d, hn::Vec<D> z) {
  return hn::Mul(z, horner(d, z, Log1pTable<hn::TFromD<D>>::coefficients));
}

/// 1 / x for x in [1, 2^60] to about one unit in the last place.
template <class D> HWY_INLINE hn::Vec<D> reciprocal(D d, hn::Vec<D> x) {
  using A = hn::TFromD<D>;
  // One Newton step on the estimate of AVX-512 (14 bits) is quicker than the division; from the 12
  // bits of older machines it would miss 1 / 1.
  if constexpr (sizeof(A) == 4 && HWY_TARGET <= HWY_AVX3) {
    const auto r = hn::ApproximateReciprocal(x);
    return hn::MulAdd(r, hn::NegMulAdd(x, r, hn::Set(d, A{1})), r);
  } else {
    return hn::Div(hn::Set(d, A{1}), x);
  }
}

/// What rounding took from square = a * a: by a fused multiply-add, or by halves of a (Dekker, "A
/// floating-point technique for extending the available precision", 1971).
template <class D> HWY_INLINE hn::Vec<D> square_error(D d, hn::Vec<D> a, hn::Vec<D> square) {
  if constexpr (HWY_TARGET <= HWY_AVX2) {
    return hn::MulSub(a, a, square);
  } else {
    using Bits = hn::TFromD<hn::RebindToUnsigned<D>>;
    const hn::RebindToUnsigned<D> du;
    const auto upper = hn::Set(du, static_cast<Bits>(~Bits{0} << (sizeof(Bits) == 4 ? 12 : 27)));
    const auto high = hn::BitCast(d, hn::And(hn::BitCast(du, a), upper));
    const auto low = hn::Sub(a, high);
    const auto cross = hn::Mul(high, hn::Add(low, low));
    return hn::Add(hn::Add(hn::Sub(hn::Mul(high, high), square), cross), hn::Mul(low, low));
  }
}

/// exp(-a^2 / 2) for a up to 15 (f64: 40), 0 where it would not be a normal number. With a^2 =
/// square + rest exactly: the rounding of a^2 alone would cost digits for large a. As in exp_parts,
/// but y = a^2 - 2 n ln(2) takes the place of the remainder: nothing needs to be halved.
template <class D> HWY_INLINE hn::Vec<D> bell_of(D d, hn::Vec<D> a) {
  using A = hn::TFromD<D>;
  using Table = ExpTable<A>;
  const hn::RebindToUnsigned<D> du;
  const auto square = hn::Mul(a, a), rest = square_error(d, a, square);
  const auto shifter = hn::Set(d, Table::shifter);
  const auto shifted = hn::MulAdd(square, hn::Set(d, A{-0.5} * Table::log2_e), shifter);
  const auto n = hn::Sub(shifted, shifter);
  const auto high = hn::MulAdd(n, hn::Set(d, 2 * Table::ln2_high), square);
  const auto y = hn::Add(hn::MulAdd(n, hn::Set(d, 2 * Table::ln2_low), high), rest);
  const auto e = hn::MulAdd(y, horner(d, y, BellTable<A>::coefficients), hn::Set(d, A{1}));
  const auto power = hn::BitCast(d, hn::ShiftLeft<Table::mantissa_bits>(hn::BitCast(du, shifted)));
  return hn::IfThenZeroElse(hn::Gt(square, hn::Set(d, -2 * Table::lowest)), hn::Mul(e, power));
}

template <class V> struct Normal {
  V cdf;   // Phi(z)
  V bell;  // exp(-z^2 / 2)
};

template <class V> struct NormalTail {
  V a;     // |z|, at most where the tail is 0
  V tail;  // Phi(-a)
  V bell;  // exp(-a^2 / 2)
};

template <class D> HWY_INLINE NormalTail<hn::Vec<D>> normal_tail(D d, hn::Vec<D> z) {
  using A = hn::TFromD<D>;
  using Table = NormalTailTable<A>;
  const auto a = hn::Min(hn::Abs(z), hn::Set(d, Table::largest));
  const auto bell = bell_of(d, a);
  const auto inverse = reciprocal(d, hn::Add(a, hn::Set(d, Table::k)));
  const auto q = hn::NegMulAdd(hn::Set(d, 2 * Table::k), inverse, hn::Set(d, A{1}));
  return {a, hn::Mul(hn::Mul(bell, inverse), horner(d, q, Table::coefficients)), bell};
}

/// The normal distribution function, with a small relative error in the lower tail too (1 + erf
/// cancels there), and the bell that its derivatives need.
template <class D> HWY_INLINE Normal<hn::Vec<D>> normal(D d, hn::Vec<D> z) {
  const auto [a, tail, bell] = normal_tail(d, z);
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  return {hn::IfThenElse(hn::Lt(z, hn::Zero(d)), tail, hn::Sub(one, tail)), bell};
}

/// erf(x) for every x: a polynomial up to 1, beyond it 1 - 2 Phi(-sqrt(2) |x|). NaN stays NaN.
template <class D> HWY_INLINE hn::Vec<D> erf_of(D d, hn::Vec<D> x) {
  using A = hn::TFromD<D>;
  const auto one = hn::Set(d, A{1});
  const auto a = hn::Abs(x);
  const auto near = hn::Mul(a, horner(d, hn::Mul(a, a), ErfTable<A>::coefficients));
  const auto z = hn::Mul(a, hn::Set(d, static_cast<A>(-1.4142135623730950488)));
  const auto far = hn::NegMulAdd(hn::Set(d, A{2}), normal(d, z).cdf, one);
  const auto y = hn::IfThenElse(hn::Gt(a, one), far, near);
  return hn::CopySign(hn::IfThenElse(hn::Gt(a, hn::Set(d, A{8})), one, y), x);
}

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
