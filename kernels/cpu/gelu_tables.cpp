// The tables of GELU, from its formulas in f64.
#include "kernels/cpu/gelu_tables.h"

#include <cmath>
#include <numbers>

namespace mettle::kernels::cpu {
namespace {

// Phi(-a) and the density.
double normal_tail(double a) { return 0.5 * std::erfc(a / std::numbers::sqrt2); }
double density(double a) {
  return std::exp(-0.5 * a * a) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}

// s = 1 / (1 + exp(v)) at -a, v = a (k0 + k1 a^2), and its first two derivatives by z.
struct Gate {
  explicit Gate(double a) {
    const double k0 = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi, k1 = 0.044715 * k0;
    s = 1 / (1 + std::exp(a * (k0 + k1 * a * a)));
    const double t = s * (1 - s), v1 = k0 + 3 * k1 * a * a, v2 = -6 * k1 * a;
    s1 = t * v1;
    s2 = t * (v2 + (1 - 2 * s) * v1 * v1);
  }
  double s, s1, s2;
};

}  // namespace

const GeluTables& gelu_erf_tables() {
  constexpr double end = 5.5;
  constexpr auto degree = GeluTables::degree;
  static const GeluTables tables{
      piecewise<degree>(normal_tail, end),
      piecewise<degree>([](double a) { return normal_tail(a) - a * density(a); }, end),
      piecewise<degree>([](double a) { return density(a) * (2 - a * a); }, end)};
  return tables;
}

const GeluTables& gelu_tanh_tables() {
  constexpr double end = 4.75;
  constexpr auto degree = GeluTables::degree;
  static const GeluTables tables{
      piecewise<degree>([](double a) { return Gate(a).s; }, end),
      piecewise<degree>([](double a) { return Gate(a).s - a * Gate(a).s1; }, end),
      piecewise<degree>([](double a) { return 2 * Gate(a).s1 - a * Gate(a).s2; }, end)};
  return tables;
}

}  // namespace mettle::kernels::cpu
