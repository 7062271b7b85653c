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

template <class D>
HWY_INLINE Terms<hn::Vec<D>> terms_of(D d, hn::Vec<D> x, hn::Vec<D> t, double pos_weight) {
  using A = hn::TFromD<D>;
  const auto zero = hn::Zero(d), one = hn::Set(d, A{1});
  const auto p = hn::Set(d, static_cast<A>(pos_weight));
  Terms<hn::Vec<D>> e;
  const auto z = exp_of_nonpositive(d, hn::Neg(hn::Abs(x)));
  const auto inverse = reciprocal(d, hn::Add(one, z));
  e.q = hn::MulAdd(hn::Sub(p, one), t, one);
  e.base = hn::IfThenElse(hn::Lt(x, zero), hn::Neg(hn::Mul(p, t)), hn::Sub(one, t));
  e.log1p = log1p_of_unit(d, z);
  e.softplus = hn::Add(hn::Max(hn::Neg(x), zero), e.log1p);
  e.small = hn::Mul(z, inverse);
  e.spread = hn::Mul(e.small, inverse);
  e.by_x = hn::NegMulAdd(e.q, hn::CopySign(e.small, x), e.base);
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

template <class T> void forward_typed(const BceWithLogitsForwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target),
             *weight = static_cast<const T*>(a.weight);
  const bool reduced = a.reduction != Reduction::none;
  A* each = reduced ? nullptr : static_cast<A*>(a.loss);
  T* dx = static_cast<T*>(a.dx_of_one);
  const auto one = hn::Set(d, A{1});
  const auto scale = hn::Set(d, static_cast<A>(share(a.reduction, a.n)));
  double total = 0;
  sweep<A>(a.n, reduced ? &total : nullptr, [&](std::size_t i, auto span) METTLE_LANES {
    const auto logit = load(d, x + i, span), t = load(d, target + i, span);
    const auto w = load_or(d, weight, i, span, one);
    const auto e = terms_of(d, logit, t, a.pos_weight);
    const auto loss = hn::Mul(w, hn::MulAdd(e.base, logit, hn::Mul(e.q, e.log1p)));
    if (each) store(d, loss, each + i, span);
    if (dx) store(d, hn::Mul(hn::Mul(w, scale), e.by_x), dx + i, span);
    return loss;
  });
  if (reduced) *static_cast<A*>(a.loss) = static_cast<A>(total * share(a.reduction, a.n));
}

template <class T> void backward_typed(const BceWithLogitsBackwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target),
             *weight = static_cast<const T*>(a.weight);
  const auto* dloss = static_cast<const A*>(a.dloss);
  const bool reduced = a.reduction != Reduction::none;
  T *dx = static_cast<T*>(a.dx), *dtarget = static_cast<T*>(a.dtarget);
  const auto one = hn::Set(d, A{1}), boost = hn::Set(d, static_cast<A>(a.pos_weight - 1));
  const auto common = hn::Set(d, reduced ? static_cast<A>(*dloss * share(a.reduction, a.n)) : A{1});
  sweep<A>(a.n, nullptr, [&](std::size_t i, auto span) METTLE_LANES {
    const auto logit = load(d, x + i, span), t = load(d, target + i, span);
    const auto slope = reduced ? common : load(d, dloss + i, span);
    const auto w = hn::Mul(slope, load_or(d, weight, i, span, one));
    const auto e = terms_of(d, logit, t, a.pos_weight);
    if (dx) store(d, hn::Mul(w, e.by_x), dx + i, span);
    if (dtarget) store(d, hn::Mul(w, hn::MulSub(boost, e.softplus, logit)), dtarget + i, span);
    return hn::Zero(d);
  });
}

template <class T> void double_backward_typed(const BceWithLogitsDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto *x = static_cast<const T*>(a.x), *target = static_cast<const T*>(a.target),
             *weight = static_cast<const T*>(a.weight), *ddx = static_cast<const T*>(a.ddx),
             *ddtarget = static_cast<const T*>(a.ddtarget);
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
    const auto w = load_or(d, weight, i, span, one);
    const auto along_x = hn::Mul(w, load_or(d, ddx, i, span, zero));
    const auto along_t = hn::Mul(w, load_or(d, ddtarget, i, span, zero));
    const auto slope = reduced ? common : load(d, dloss + i, span);
    const auto e = terms_of(d, logit, t, a.pos_weight);
    const auto s = hn::IfThenElse(hn::Lt(logit, zero), hn::Sub(one, e.small), e.small);
    const auto mixed = hn::MulAdd(boost, s, one);  // -d2l/dxdt
    if (dx2) {
      const auto bend = hn::Mul(along_x, hn::Mul(e.q, e.spread));
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
      a.dtype, [&]<class T>() { forward_typed<T>(a); }, "bce_with_logits");
}
void backward(const BceWithLogitsBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { backward_typed<T>(a); }, "bce_with_logits");
}
void double_backward(const BceWithLogitsDoubleBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { double_backward_typed<T>(a); }, "bce_with_logits");
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
