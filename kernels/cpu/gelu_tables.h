// What GELU and its derivatives look up instead of computing them, for f32.
#pragma once

#include "kernels/cpu/piecewise.h"

namespace mettle::kernels::cpu {

/// Functions of a = |z|, of which the others follow by symmetry: gelu(z) = z G(z) with
/// G(z) + G(-z) = 1.
struct GeluTables {
  static constexpr std::size_t degree = 6;
  Piecewise<degree> gate;   // G(-a):      gelu(z) = max(z, 0) - a G(-a)
  Piecewise<degree> slope;  // gelu'(-a):  gelu'(a) = 1 - gelu'(-a)
  Piecewise<degree> bend;   // gelu''(a) = gelu''(-a)
};

/// Made at the first call. Their ends are where the error of interpolation, relative to the
/// function's smallest value in the last interval, is still below f32's rounding.
const GeluTables& gelu_erf_tables();
const GeluTables& gelu_tanh_tables();

}  // namespace mettle::kernels::cpu
