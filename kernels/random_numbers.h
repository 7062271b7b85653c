// From random bits to f64 numbers, with the same bits on every device: only additions, products,
// divisions and square roots, each rounded by itself, in a fixed order. What compiles this for the
// host does so without contraction to fused multiply-adds.
//
// Series instead of the mathematical library's functions, whose last bit differs between systems.
// Results are within 2 units in the last place.
#pragma once

#include <math.h>  // NOLINT(modernize-deprecated-headers): sqrt outside of std, which nvcc knows

#include <cstdint>

#include "engine/random.h"

namespace mettle::kernels {

struct RandomPair {
  double first, second;
};

namespace detail {

METTLE_HD inline double product(double x, double y) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(x, y);
#else
  return x * y;
#endif
}

METTLE_HD inline double sum(double x, double y) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(x, y);
#else
  return x + y;
#endif
}

/// c[0] + c[1] x + ... + c[Count - 1] x^(Count - 1).
template <int Count> METTLE_HD inline double polynomial(const double (&c)[Count], double x) {
  double y = c[Count - 1];
  for (int i = Count - 2; i >= 0; --i) y = sum(product(y, x), c[i]);
  return y;
}

/// The natural logarithm of a normal number: w = 2^e m, m about 1, and with s = (m - 1) / (m + 1)
///   log m = 2 (s + s^3 / 3 + s^5 / 5 + ...).
METTLE_HD inline double logarithm(double w) {
  constexpr std::uint64_t mantissa = (std::uint64_t{1} << 52) - 1;
  constexpr std::uint64_t one = std::uint64_t{1023} << 52;
  const auto bits = __builtin_bit_cast(std::uint64_t, w);
  auto exponent = static_cast<double>(static_cast<std::int64_t>(bits >> 52) - 1023);
  double m = __builtin_bit_cast(double, (bits & mantissa) | one);
  if (m > 1.4142135623730951) {
    m = product(m, 0.5);
    exponent = sum(exponent, 1);
  }
  const double f = sum(m, -1);
  const double s = f / sum(f, 2);
  const double z = product(s, s);
  const double series[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                           1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
  const double log_m =
      sum(product(2, s), product(product(product(2, s), z), polynomial(series, z)));
  // log 2 in two parts; products of the first with an exponent are exact.
  const double log_2_high = 0x1.62e42fee00000p-1, log_2_low = 0x1.a39ef35793c76p-33;
  return sum(product(exponent, log_2_high), sum(product(exponent, log_2_low), log_m));
}

/// (cos, sin) of 2 pi turns, 0 <= turns < 1, by their Taylor series around the nearest quarter.
METTLE_HD inline RandomPair on_circle(double turns) {
  const int quarter = static_cast<int>(sum(product(turns, 4), 0.5));
  const double x = product(sum(turns, -0.25 * quarter), 6.283185307179586);  // the sum is exact
  const double z = product(x, x);
  const double for_sin[] = {
      -1.0 / 6,        1.0 / 120,        -1.0 / 5040,          1.0 / 362880,
      -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
  const double for_cos[] = {
      -1.0 / 2,       1.0 / 24,        -1.0 / 720,         1.0 / 40320,
      -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000};
  const double sine = sum(x, product(product(x, z), polynomial(for_sin, z)));
  const double cosine = sum(1, product(z, polynomial(for_cos, z)));
  switch (quarter & 3) {
    case 0: return {cosine, sine};
    case 1: return {-sine, cosine};
    case 2: return {-cosine, -sine};
    default: return {sine, -cosine};
  }
}

}  // namespace detail

/// Two uniform numbers in [0, 1) with 53 bits, from block number `pair` of the stretch.
METTLE_HD inline RandomPair uniform_pair(const PhiloxKey& key, std::uint64_t pair) {
  const PhiloxBlock b = key.block(pair);
  const std::uint64_t first = (std::uint64_t{b.word[0]} << 32 | b.word[1]) >> 11;
  const std::uint64_t second = (std::uint64_t{b.word[2]} << 32 | b.word[3]) >> 11;
  return {static_cast<double>(first) * 0x1p-53, static_cast<double>(second) * 0x1p-53};
}

/// a + b u for both.
METTLE_HD inline RandomPair scaled(const RandomPair& u, double a, double b) {
  return {detail::sum(a, detail::product(b, u.first)),
          detail::sum(a, detail::product(b, u.second))};
}

/// Two normal numbers of two uniform ones (Box and Muller, 1958).
METTLE_HD inline RandomPair normal_pair(const RandomPair& u) {
  const double radius = sqrt(detail::product(-2, detail::logarithm(detail::sum(1, -u.first))));
  const RandomPair direction = detail::on_circle(u.second);
  return {detail::product(radius, direction.first), detail::product(radius, direction.second)};
}

}  // namespace mettle::kernels
