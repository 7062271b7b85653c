// GELU and its derivatives at one point, in the formulas of kernels/cpu/bias_gelu.cpp.
#pragma once

#include "kernels/bias_gelu.h"
#include "kernels/cuda/special_functions.cuh"

namespace mettle::kernels::cuda {

template <class A> struct GeluSlopes { A first, second; };

template <GeluForm form, bool fast> struct Gelu;

// With the density phi(z) = exp(-z^2 / 2) / sqrt(2 pi):
//   gelu = z Phi,   gelu' = Phi + z phi,   gelu'' = phi (2 - z^2).
template <bool fast> struct Gelu<GeluForm::erf, fast> {
  template <class A> METTLE_DEVICE static A value(A z) {
    const NormalTail<A> n = normal_tail<fast>(z);
    return fused_multiply_add(-n.a, n.tail, z < 0 ? A{0} : z);  // NaN stays NaN
  }
  template <class A> METTLE_DEVICE static A slope(A z) { return slopes(z).first; }
  template <class A> METTLE_DEVICE static GeluSlopes<A> slopes(A z) {
    constexpr A inverse_sqrt_two_pi = static_cast<A>(0.39894228040143267794);
    const NormalTail<A> n = normal_tail<fast>(z);
    const A cdf = z < 0 ? n.tail : 1 - n.tail, near = z < 0 ? -n.a : n.a;
    const A density = n.bell * inverse_sqrt_two_pi;
    return {cdf + near * density, density * (2 - near * near)};
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u). With v = 2 u = z (k0 + k1 z^2), s = sigmoid(v), t = s (1 - s):
//   gelu = z s,   gelu' = s + z s',   gelu'' = 2 s' + z s'',
//   s' = t v',   s'' = t (v'' + (1 - 2 s) v'^2),   v' = k0 + 3 k1 z^2,   v'' = 6 k1 z.
template <bool fast> struct Gelu<GeluForm::tanh, fast> {
  template <class A> struct Gate { A z, s, t; };
  template <class A> METTLE_DEVICE static Gate<A> gate(A value) {
    constexpr A k0 = static_cast<A>(1.5957691216057307117);
    constexpr A k1 = static_cast<A>(0.044715 * 1.5957691216057307117);
    constexpr A far = 50;  // beyond, s is 0 or 1 and its derivatives vanish in f64 too
    const A z = value > far ? far : value < -far ? -far : value;
    const A v = z * (z * z * k1 + k0);
    const A e = exp_of<fast>(-magnitude(v)), inverse = reciprocal_of<fast>(1 + e);
    const A small = e * inverse;
    return {z, v < 0 ? small : inverse, small * inverse};
  }
  template <class A> METTLE_DEVICE static A value(A z) {
    const Gate<A> g = gate(z);
    return (z < 0 ? g.z : z) * g.s;
  }
  template <class A> METTLE_DEVICE static A slope(A z) { return slopes(z).first; }
  template <class A> METTLE_DEVICE static GeluSlopes<A> slopes(A value) {
    constexpr A k0 = static_cast<A>(1.5957691216057307117);
    constexpr A k1 = static_cast<A>(0.044715 * 1.5957691216057307117);
    const Gate<A> g = gate(value);
    const A v1 = g.z * g.z * (3 * k1) + k0, v2 = g.z * (6 * k1);
    const A s1 = g.t * v1, s2 = g.t * ((1 - 2 * g.s) * (v1 * v1) + v2);
    return {g.z * s1 + g.s, g.z * s2 + 2 * s1};
  }
};

}  // namespace mettle::kernels::cuda
