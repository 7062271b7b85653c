// One row of layer normalisation: forward, backward and double backward. Also the core of
// dropout + residual + layer norm.
//
// Backward. With g = gamma dy and m(.) the mean over the D columns of a row,
//     Q = m(g xhat):   dx = rstd (g - m(g) - xhat Q),   dgamma = sum_rows dy xhat,   dbeta =
//     sum_rows dy.
//
// Double backward. The cotangents are u = ddx, c = ddgamma, e = ddbeta, and the scalar whose
// gradient we want is, per row (r = rstd),
//     L = u.dx + c.(dy xhat) + e.dy,      u.dx = r D S,   S = m(u g) - m(u) m(g) - P Q,   P = m(u
//     xhat).
// u -> dx is symmetric in u and g, so its derivative with respect to g is the same projection of u:
//     w = r (u - m(u) - xhat P),   ddy = gamma w + c xhat + e,   dgamma2 = sum_rows dy w.
// x enters through xhat and through r. With xhat and r held apart,
//     dL/dxhat = h = c dy - r (Q u + P g),      dL/dr = D S,
// and dr/dx = -r^2 xhat / D,  (dxhat/dx)' h = r (h - m(h) - xhat m(h xhat)),  hence
//     dx2 = r (h - m(h) - xhat (m(h xhat) + r S)),
//     m(h) = m(c dy) - r (Q m(u) + P m(g)),     m(h xhat) = m(c dy xhat) - 2 r P Q.
// Nothing here uses m(xhat^2) = 1, which eps makes false.
#if defined(METTLE_KERNELS_CPU_LAYER_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_LAYER_NORM_INL_H_
#undef METTLE_KERNELS_CPU_LAYER_NORM_INL_H_
#else
#define METTLE_KERNELS_CPU_LAYER_NORM_INL_H_
#endif

#include <cmath>

#include "kernels/cpu/output-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

template <class A> struct RowStatistics { A mean, rstd; };

/// y = gamma (x - mean) rstd + beta over one row of n columns; gamma and beta may be null.
template <class T>
HWY_INLINE RowStatistics<accumulate_t<T>> layer_norm_row(std::size_t n, const T* x, const T* gamma,
                                                         const T* beta, double eps,
                                                         OutputRow<T> y) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const A mean =
      sum_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES { return load(d, x + i, span); }) /
      static_cast<A>(n);
  const auto m = hn::Set(d, mean);
  const A variance = sum_lanes(d, n,
                               [&](std::size_t i, auto span) METTLE_LANES {
                                 const auto centred = hn::Sub(load(d, x + i, span), m);
                                 return hn::Mul(centred, centred);
                               }) /
                     static_cast<A>(n);
  const A rstd = A{1} / std::sqrt(variance + static_cast<A>(eps));
  const auto r = hn::Set(d, rstd), one = hn::Set(d, A{1}), zero = hn::Zero(d);
  with_stores(y, [&](auto out) METTLE_LANES {
    for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
      const auto xhat = hn::Mul(hn::Sub(load(d, x + i, span), m), r);
      const auto gain = load_or(d, gamma, i, span, one), shift = load_or(d, beta, i, span, zero);
      out.put(d, hn::MulAdd(xhat, gain, shift), i, span);
    });
  });
  return {mean, rstd};
}

/// m(g) and Q of one row.
template <class A> struct LayerNormBackwardMeans { A g, q; };

/// The means that a row's dx needs. Adds the row's share to `dgamma` and `dbeta` (null: not
/// wanted).
template <class T>
HWY_INLINE LayerNormBackwardMeans<accumulate_t<T>> layer_norm_backward_means(
    std::size_t n, const T* x, const T* gamma, RowStatistics<accumulate_t<T>> statistics,
    const T* dy, accumulate_t<T>* dgamma, accumulate_t<T>* dbeta) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto m = hn::Set(d, statistics.mean), r = hn::Set(d, statistics.rstd);
  const auto one = hn::Set(d, A{1});
  auto sum_g = hn::Zero(d), sum_gx = hn::Zero(d);
  // One sweep serves the row sums of dx and the column sums of dgamma and dbeta.
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto slope = load(d, dy + i, span);
    const auto xhat = hn::Mul(hn::Sub(load(d, x + i, span), m), r);
    const auto g = hn::Mul(slope, load_or(d, gamma, i, span, one));
    sum_g = hn::Add(sum_g, g);  // missing lanes of dy are zeros
    sum_gx = hn::MulAdd(g, xhat, sum_gx);
    if (dgamma) store(d, hn::MulAdd(slope, xhat, load(d, dgamma + i, span)), dgamma + i, span);
    if (dbeta) store(d, hn::Add(slope, load(d, dbeta + i, span)), dbeta + i, span);
  });
  const A scale = A{1} / static_cast<A>(n);
  return {sum(d, sum_g) * scale, sum(d, sum_gx) * scale};
}

/// Calls use(i, span, dx) over one row.
template <class T, class Use>
HWY_INLINE void layer_norm_dx(std::size_t n, const T* x, const T* gamma,
                              RowStatistics<accumulate_t<T>> statistics, const T* dy,
                              LayerNormBackwardMeans<accumulate_t<T>> means, const Use& use) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto m = hn::Set(d, statistics.mean), r = hn::Set(d, statistics.rstd);
  const auto one = hn::Set(d, A{1}), mean_g = hn::Set(d, means.g), q = hn::Set(d, means.q);
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto xhat = hn::Mul(hn::Sub(load(d, x + i, span), m), r);
    const auto g = hn::Mul(load(d, dy + i, span), load_or(d, gamma, i, span, one));
    use(i, span, hn::Mul(r, hn::NegMulAdd(xhat, q, hn::Sub(g, mean_g))));
  });
}

/// The rows of the double backward's arguments; null inputs are zeros (gamma: ones), null outputs
/// not wanted. dgamma2 is added to. X is the type of ddx and dx2: T or its accumulation type.
template <class T, class X> struct LayerNormDoubleRow {
  const T* x;
  const T* gamma;
  const T* dy;
  const X* ddx;
  const T* ddgamma;
  const T* ddbeta;
  X* dx2;
  accumulate_t<T>* dgamma2;
  T* ddy;
};

/// The means over a row that the double backward needs, in the symbols of the derivation.
template <class A> struct LayerNormDoubleMeans { A u, g, ug, p, q, cdy, cdyx; };

template <class T, class X>
HWY_INLINE LayerNormDoubleMeans<accumulate_t<T>> layer_norm_double_means(
    std::size_t n, const LayerNormDoubleRow<T, X>& row, RowStatistics<accumulate_t<T>> statistics) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto m = hn::Set(d, statistics.mean), r = hn::Set(d, statistics.rstd);
  const auto one = hn::Set(d, A{1}), zero = hn::Zero(d);
  auto su = zero, sg = zero, sug = zero, sp = zero, sq = zero, sc = zero, scx = zero;
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto slope = load(d, row.dy + i, span);
    const auto xhat = hn::Mul(hn::Sub(load(d, row.x + i, span), m), r);
    const auto g = hn::Mul(slope, load_or(d, row.gamma, i, span, one));
    const auto u = load_or(d, row.ddx, i, span, zero);
    const auto cdy = hn::Mul(slope, load_or(d, row.ddgamma, i, span, zero));
    su = hn::Add(su, u);
    sg = hn::Add(sg, g);
    sug = hn::MulAdd(u, g, sug);
    sp = hn::MulAdd(u, xhat, sp);
    sq = hn::MulAdd(g, xhat, sq);
    sc = hn::Add(sc, cdy);
    scx = hn::MulAdd(cdy, xhat, scx);
  });
  const A s = A{1} / static_cast<A>(n);
  return {sum(d, su) * s, sum(d, sg) * s, sum(d, sug) * s, sum(d, sp) * s,
          sum(d, sq) * s, sum(d, sc) * s, sum(d, scx) * s};
}

template <class T, class X>
HWY_INLINE void layer_norm_double_backward_row(std::size_t n, const LayerNormDoubleRow<T, X>& row,
                                               RowStatistics<accumulate_t<T>> statistics) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto mean = layer_norm_double_means(n, row, statistics);
  const A rstd = statistics.rstd;
  const A s = mean.ug - mean.u * mean.g - mean.p * mean.q;
  const A mean_h = mean.cdy - rstd * (mean.q * mean.u + mean.p * mean.g);
  const A mean_hx = mean.cdyx - 2 * rstd * mean.p * mean.q + rstd * s;

  const auto m = hn::Set(d, statistics.mean), r = hn::Set(d, rstd);
  const auto one = hn::Set(d, A{1}), zero = hn::Zero(d);
  const auto mu = hn::Set(d, mean.u), p = hn::Set(d, mean.p);
  const auto rq = hn::Set(d, rstd * mean.q), rp = hn::Set(d, rstd * mean.p);
  const auto mh = hn::Set(d, mean_h), mhx = hn::Set(d, mean_hx);
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto slope = load(d, row.dy + i, span);
    const auto xhat = hn::Mul(hn::Sub(load(d, row.x + i, span), m), r);
    const auto gain = load_or(d, row.gamma, i, span, one);
    const auto u = load_or(d, row.ddx, i, span, zero);
    const auto c = load_or(d, row.ddgamma, i, span, zero);
    const auto w = hn::Mul(r, hn::NegMulAdd(xhat, p, hn::Sub(u, mu)));
    if (row.ddy) {
      const auto e = load_or(d, row.ddbeta, i, span, zero);
      store(d, hn::MulAdd(gain, w, hn::MulAdd(c, xhat, e)), row.ddy + i, span);
    }
    if (row.dgamma2)
      store(d, hn::MulAdd(slope, w, load(d, row.dgamma2 + i, span)), row.dgamma2 + i, span);
    if (row.dx2) {
      const auto g = hn::Mul(slope, gain);
      const auto h = hn::NegMulAdd(rp, g, hn::NegMulAdd(rq, u, hn::Mul(c, slope)));
      store(d, hn::Mul(r, hn::NegMulAdd(xhat, mhx, hn::Sub(h, mh))), row.dx2 + i, span);
    }
  });
}

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
