// A function of one variable as 32 polynomials over intervals of equal width: small enough for its
// coefficients to stay in vector registers, where piecewise-inl.h looks them up.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace mettle::kernels::cpu {

/// Interval n is centred at a = n / per_unit, and there f(a) is the polynomial with coefficients
/// [.][n], lowest power first, in r = per_unit a - n, |r| <= 1/2.
template <std::size_t Degree> struct Piecewise {
  static constexpr std::size_t degree = Degree;
  static constexpr std::size_t pieces = 32;
  float per_unit;  // intervals in a unit of a
  float end;       // the table holds for 0 <= a <= end
  alignas(64) float coefficients[degree + 1][pieces];
};

namespace piecewise_detail {

/// Coefficients, lowest power first, of the polynomial through values[i] at nodes[i], by Newton's
/// divided differences.
template <std::size_t count>
std::array<double, count> interpolate(const std::array<double, count>& nodes,
                                      std::array<double, count> values) {
  for (std::size_t k = 1; k < count; ++k)
    for (std::size_t i = count - 1; i >= k; --i)
      values[i] = (values[i] - values[i - 1]) / (nodes[i] - nodes[i - k]);
  std::array<double, count> powers{};
  for (std::size_t k = count; k-- > 0;) {  // powers = powers (r - nodes[k]) + values[k]
    for (std::size_t i = count - 1; i > 0; --i) powers[i] = powers[i - 1] - nodes[k] * powers[i];
    powers[0] = values[k] - nodes[k] * powers[0];
  }
  return powers;
}

}  // namespace piecewise_detail

/// The table of f on [0, end], interpolated in f64 at the Chebyshev nodes of each interval. f must
/// be smooth from -end / 62 on.
template <std::size_t degree, class F> Piecewise<degree> piecewise(F f, double end) {
  constexpr std::size_t count = degree + 1;
  // The end is the last centre: half an interval farther, rounding could find interval 32, which is
  // interval 0 to a permutation.
  constexpr double widths = Piecewise<degree>::pieces - 1;
  Piecewise<degree> table{static_cast<float>(widths / end), static_cast<float>(end), {}};
  std::array<double, count> nodes;
  for (std::size_t i = 0; i < count; ++i)
    nodes[i] = 0.5 * std::cos(std::numbers::pi * (static_cast<double>(i) + 0.5) / count);
  for (std::size_t n = 0; n < Piecewise<degree>::pieces; ++n) {
    std::array<double, count> values;
    for (std::size_t i = 0; i < count; ++i)
      values[i] = f((static_cast<double>(n) + nodes[i]) / static_cast<double>(table.per_unit));
    const auto powers = piecewise_detail::interpolate(nodes, values);
    for (std::size_t k = 0; k < count; ++k)
      table.coefficients[k][n] = static_cast<float>(powers[k]);
  }
  return table;
}

}  // namespace mettle::kernels::cpu
