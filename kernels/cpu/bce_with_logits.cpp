// Binary cross-entropy of logits on the CPU: one sweep over the elements in chunks. Sums go through
// f32 (f64) lanes within a strip of 1024 elements and through f64 above, always in the same order.
//
// With s = sigmoid(-x), q = 1 + (p - 1) t and the loss l = w ((1 - t) x + q softplus(-x)):
//     dl/dx = w (1 - t - q s)                   dl/dt = w ((p - 1) softplus(-x) - x)
//     d2l/dx2 = w q s (1 - s)                   d2l/dxdt = -w (1 + (p - 1) s)          d2l/dt2 = 0
// Written so, l and dl/dx cancel for confident right answers. With z = exp(-|x|) and
// b = 1 - t for x >= 0, -p t for x < 0, the same numbers without cancellation are
//     l = w (b x + q log1p(z)),                 dl/dx = w (b - sign(x) q z / (1 + z)),
// and the double backward is, for the cotangents a = ddx, b = ddtarget and the slope c = dloss,
//     dx2 = c (a d2l/dx2 + b d2l/dxdt),   dtarget2 = c a d2l/dxdt,   ddloss = a dl/dx + b dl/dt.
#include "kernels/bce_with_logits.h"

#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/bce_with_logits.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "engine/parallel.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/transcendental-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

/// The functions of one element, for weight 1, that losses and slopes are made of.
template <class V> struct Terms {
  V q;
  V base;      // b
  V log1p;     // log(1 + z)
  V softplus;  // log(1 + exp(-x))
  V small;     // z / (1 + z) = sigmoid(-|x|)
  V spread;    // s (1 - s)
  V by_x;      // dl/dx
};

/// No weights, p = 1: what most losses are, in an eighth fewer instructions.
template <class T> struct Unweighted {
  template <class D> HWY_INLINE hn::Vec<D> q(D d, hn::Vec<D>) const {
    return hn::Set(d, hn::TFromD<D>{1});
  }
  template <class D> HWY_INLINE hn::Vec<D> times_p(D, hn::Vec<D> t) const { return t; }
  template <class D, class Span>
  HWY_INLINE hn::Vec<D> times_w(D, hn::Vec<D> v, std::size_t, Span) const {
    return v;
  }
  template <class V> HWY_INLINE V times_q(V, V v) const { return v; }
  template <class V> HWY_INLINE V minus_times_q(V c, V, V v) const { return hn::Sub(c, v); }
};

template <class T> struct Weighted {
  const T* weight;  // null: all 1
  accumulate_t<T> p;

  template <class D> HWY_INLINE hn::Vec<D> q(D d, hn::Vec<D> t) const {
    const auto one = hn::Set(d, hn::TFromD<D>{1});
    return hn::MulAdd(hn::Sub(hn::Set(d, p), one), t, one);
  }
  template <class D> HWY_INLINE hn::Vec<D> times_p(D d, hn::Vec<D> t) const {
    return hn::Mul(hn::Set(d, p), t);
  }
  template <class D, class Span>
  HWY_INLINE hn::Vec<D> times_w(D d, hn::Vec<D> v, std::size_t i, Span span) const {
    return hn::Mul(v, load_or(d, weight, i, span, hn::Set(d, hn::TFromD<D>{1})));
  }
  template <class V> HWY_INLINE V times_q(V q, V v) const { return hn::Mul(q, v); }
  template <class V> HWY_INLINE V minus_times_q(V c, V q, V v) const {
    return hn::NegMulAdd(q, v, c);
  }
};

/// body(weights) with those of the call.
template <class T, class Args, class Body> void with_weights(const Args& a, const Body& body) {
  if (!a.weight && a.pos_weight == 1) {
    body(Unweighted<T>());
  } else {
    body(Weighted<T>{static_cast<const T*>(a.weight), static_cast<accumulate_t<T>>(a.pos_weight)});
  }
}

template <class D, class Weights>
HWY_INLINE Terms<hn::Vec<D>> terms_of(D d, hn::Vec<D> x, hn::Vec<D> t, const Weights& weights) {
  using A = hn::TFromD<D>;
  const auto zero = hn::Zero(d), one = hn::Set(d, A{1});
  Terms<hn::Vec<D>> e;
  const auto z = exp_of_nonpositive(d, hn::Neg(hn::Abs(x)));
  const auto inverse = reciprocal(d, hn::Add(one, z));
  e.q = weights.q(d, t);
  e.base = hn::IfThenElse(hn::Lt(x, zero), hn::Neg(weights.times_p(d, t)), hn::Sub(one, t));
  e.log1p = log1p_of_unit(d, z);
  e.softplus = hn::Add(hn::Max(hn::Neg(x), zero), e.log1p);
  e.small = hn::Mul(z, inverse);
  e.spread = hn::Mul(e.small, inverse);
  e.by_x = weights.minus_times_q(e.base, e.q, hn::CopySign(e.small, x));
  return e;
}

/// Calls body(i, span) over [0, n) in chunks; where `total` is not null, the values that it returns
/// are summed there in f64.
template <class A, class Body> void sweep(std::int64_t n, double* total, Body body) {
  const hn::ScalableTag<A> d;
  constexpr std::int64_t strip = 1024;
  const std::int64_t chunks = (n + elements_per_task - 1) / elements_per_task;
  Scratch<double, 1024> partial(total ? chunks : 0);
  parallel_for(n, elements_per_task, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    double chunk_sum = 0;
    for (std::int64_t first = begin; first < end; first += strip) {
      const auto size = static_cast<std::size_t>(std::min(strip, end - first));
      const auto offset = static_cast<std::size_t>(first);
      chunk_sum += sum_lanes(
          d, size, [&](std::size_t i, auto span) METTLE_LANES { return body(offset + i, span); });
    }
    if (total) partial.data()[begin / elements_per_task] = chunk_sum;
  });
  if (!total) return;
  *total = 0;
  for (std::int64_t c = 0; c < chunks; ++c) *total += partial.data()[c];
}

/// What a loss of one element contributes to the reduced loss.
double share(Reduction reduction, std::int64_t n) {
  return reduction == Reduction::mean ? 1 / static_cast<double>(n) : 1;
}

template <class T, class Weights>
void forward_typed(const BceWithLogitsForwardArgs& a, const Weights& weights) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target);
  const bool reduced = a.reduction != Reduction::none;
  A* each = reduced ? nullptr : static_cast<A*>(a.loss);
  T* dx = static_cast<T*>(a.dx_of_one);
  const auto scale = hn::Set(d, static_cast<A>(share(a.reduction, a.n)));
  double total = 0;
  sweep<A>(a.n, reduced ? &total : nullptr, [&](std::size_t i, auto span) METTLE_LANES {
    const auto logit = load(d, x + i, span), t = load(d, target + i, span);
    const auto e = terms_of(d, logit, t, weights);
    const auto of_one = hn::MulAdd(e.base, logit, weights.times_q(e.q, e.log1p));
    const auto loss = weights.times_w(d, of_one, i, span);
    if (each) store(d, loss, each + i, span);
    if (dx) store(d, hn::Mul(weights.times_w(d, scale, i, span), e.by_x), dx + i, span);
    return loss;
  });
  if (reduced) *static_cast<A*>(a.loss) = static_cast<A>(total * share(a.reduction, a.n));
}

template <class T, class Weights>
void backward_typed(const BceWithLogitsBackwardArgs& a, const Weights& weights) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target);
  const auto* dloss = static_cast<const A*>(a.dloss);
  const bool reduced = a.reduction != Reduction::none;
  T *dx = static_cast<T*>(a.dx), *dtarget = static_cast<T*>(a.dtarget);
  const auto boost = hn::Set(d, static_cast<A>(a.pos_weight - 1));
  const auto common = hn::Set(d, reduced ? static_cast<A>(*dloss * share(a.reduction, a.n)) : A{1});
  sweep<A>(a.n, nullptr, [&](std::size_t i, auto span) METTLE_LANES {
    const auto logit = load(d, x + i, span), t = load(d, target + i, span);
    const auto slope = reduced ? common : load(d, dloss + i, span);
    const auto w = weights.times_w(d, slope, i, span);
    const auto e = terms_of(d, logit, t, weights);
    if (dx) store(d, hn::Mul(w, e.by_x), dx + i, span);
    if (dtarget) store(d, hn::Mul(w, hn::MulSub(boost, e.softplus, logit)), dtarget + i, span);
    return hn::Zero(d);
  });
}

template <class T, class Weights>
void double_backward_typed(const BceWithLogitsDoubleBackwardArgs& a, const Weights& weights) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target),
             *ddx = static_cast<const T*>(a.ddx), *ddtarget = static_cast<const T*>(a.ddtarget);
  const auto* dloss = static_cast<const A*>(a.dloss);
  const bool reduced = a.reduction != Reduction::none;
  T *dx2 = static_cast<T*>(a.dx2), *dtarget2 = static_cast<T*>(a.dtarget2);
  A* ddloss_each = reduced ? nullptr : static_cast<A*>(a.ddloss);
  const auto one = hn::Set(d, A{1}), zero = hn::Zero(d);
  const auto boost = hn::Set(d, static_cast<A>(a.pos_weight - 1));
  const auto common = hn::Set(d, reduced ? static_cast<A>(*dloss * share(a.reduction, a.n)) : A{1});
  double total = 0;
  sweep<A>(a.n, reduced && a.ddloss ? &total : nullptr, [&](std::size_t i, auto span) METTLE_LANES {
    const auto logit = load(d, x + i, span), t = load(d, target + i, span);
    const auto along_x = weights.times_w(d, load_or(d, ddx, i, span, zero), i, span);
    const auto along_t = weights.times_w(d, load_or(d, ddtarget, i, span, zero), i, span);
    const auto slope = reduced ? common : load(d, dloss + i, span);
    const auto e = terms_of(d, logit, t, weights);
    const auto s = hn::IfThenElse(hn::Lt(logit, zero), hn::Sub(one, e.small), e.small);
    const auto mixed = hn::MulAdd(boost, s, one);  // -d2l/dxdt
    if (dx2) {
      const auto bend = hn::Mul(along_x, weights.times_q(e.q, e.spread));
      store(d, hn::Mul(slope, hn::NegMulAdd(along_t, mixed, bend)), dx2 + i, span);
    }
    if (dtarget2) store(d, hn::Neg(hn::Mul(slope, hn::Mul(along_x, mixed))), dtarget2 + i, span);
    const auto by_t = hn::MulSub(boost, e.softplus, logit);
    const auto change = hn::MulAdd(along_x, e.by_x, hn::Mul(along_t, by_t));
    if (ddloss_each) store(d, change, ddloss_each + i, span);
    return change;
  });
  if (reduced && a.ddloss)
    *static_cast<A*>(a.ddloss) = static_cast<A>(total * share(a.reduction, a.n));
}

void forward(const BceWithLogitsForwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        with_weights<T>(a, [&](const auto& weights) { forward_typed<T>(a, weights); });
      },
      "bce_with_logits");
}
void backward(const BceWithLogitsBackwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        with_weights<T>(a, [&](const auto& weights) { backward_typed<T>(a, weights); });
      },
      "bce_with_logits");
}
void double_backward(const BceWithLogitsDoubleBackwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        with_weights<T>(a, [&](const auto& weights) { double_backward_typed<T>(a, weights); });
      },
      "bce_with_logits");
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward);
HWY_EXPORT(double_backward);
}  // namespace

void register_bce_with_logits() {
  bce_with_logits_forward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const BceWithLogitsForwardArgs& a) {
         HWY_DYNAMIC_DISPATCH(forward)(a);
       }});
  bce_with_logits_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const BceWithLogitsBackwardArgs& a) {
         HWY_DYNAMIC_DISPATCH(backward)(a);
       }});
  bce_with_logits_double_backward.add({"simd", DeviceType::cpu, 10, nullptr,
                                       [](const Stream&, const BceWithLogitsDoubleBackwardArgs& a) {
                                         HWY_DYNAMIC_DISPATCH(double_backward)(a);
                                       }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
