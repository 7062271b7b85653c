// exp, reciprocal, log1p and the normal distribution over the ranges that losses and activations
// need: to about a unit in the last place for operands of f32 and f64, or with the hardware's
// approximations, whose errors of a few 2^-22 are far below the rounding of 16-bit operands.
#pragma once

#include <math.h>

#include "kernels/cuda/device.cuh"
#include "kernels/polynomials.h"

namespace mettle::kernels::cuda {

METTLE_DEVICE float magnitude(float x) { return ::fabsf(x); }
METTLE_DEVICE double magnitude(double x) { return ::fabs(x); }
METTLE_DEVICE float exact_exp(float x) { return ::expf(x); }
METTLE_DEVICE double exact_exp(double x) { return ::exp(x); }
METTLE_DEVICE float exact_log(float x) { return ::logf(x); }
METTLE_DEVICE double exact_log(double x) { return ::log(x); }
METTLE_DEVICE float fused_multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
METTLE_DEVICE double fused_multiply_add(double a, double b, double c) { return ::fma(a, b, c); }

/// For x <= 0. NaN stays NaN.
template <bool fast, class A> METTLE_DEVICE A exp_of(A x) {
  if constexpr (fast)
    return dev::fast_exp2(x * 1.44269504f);
  else
    return exact_exp(x);
}

/// 1 / x for x from 1 to 2^60.
template <bool fast, class A> METTLE_DEVICE A reciprocal_of(A x) {
  if constexpr (fast)
    return dev::fast_divide(1.0f, x);
  else
    return A{1} / x;
}

/// The polynomial of Table at x, from its coefficient i on.
template <class Table, int i = 0, class A> METTLE_DEVICE A polynomial(A x) {
  constexpr int count = static_cast<int>(sizeof(Table::coefficients) / sizeof(A));
  constexpr A coefficient = Table::coefficients[i];
  if constexpr (i + 1 == count)
    return coefficient;
  else
    return fused_multiply_add(polynomial<Table, i + 1>(x), x, coefficient);
}

/// log(1 + z) for z in [0, 1], with a small relative error also for tiny z.
template <class A> METTLE_DEVICE A log1p_of_unit(A z) { return z * polynomial<Log1pTable<A>>(z); }

template <class A> struct NormalTail {
  A a;     // |z|, at most where the tail is 0
  A tail;  // Phi(-a)
  A bell;  // exp(-a^2 / 2)
};

template <bool fast, class A> METTLE_DEVICE NormalTail<A> normal_tail(A z) {
  using Table = NormalTailTable<A>;
  constexpr A k = Table::k, largest = Table::largest;
  A a = magnitude(z);
  a = a > largest ? largest : a;
  const A square = a * a;
  A bell = exp_of<fast>(A{-0.5} * square);
  // What rounding took from the square costs digits where a is large.
  if constexpr (!fast) bell -= bell * (A{0.5} * fused_multiply_add(a, a, -square));
  const A inverse = reciprocal_of<fast>(a + k);
  const A q = fused_multiply_add(-2 * k, inverse, A{1});
  return {a, bell * inverse * polynomial<Table>(q), bell};
}

}  // namespace mettle::kernels::cuda
