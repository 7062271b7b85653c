// Binary cross-entropy of logits as plain scalar loops in f64: the oracle of the fast kernels. The
// symbols are those of bce_with_logits.cpp.
#include <algorithm>
#include <cmath>

#include "kernels/bce_with_logits.h"
#include "kernels/cpu/naive.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {
namespace {

/// The loss of one element for weight 1 and its derivatives.
struct Element {
  double loss, by_x, by_t, by_xx, by_xt;
};

Element element(double x, double t, double pos_weight) {
  const double z = std::exp(-std::abs(x)), small = z / (1 + z), s = x < 0 ? 1 - small : small;
  const double softplus = std::max(-x, 0.0) + std::log1p(z), q = 1 + (pos_weight - 1) * t;
  const double base = x < 0 ? -pos_weight * t : 1 - t;
  return {base * x + q * std::log1p(z), base - std::copysign(q * small, x),
          (pos_weight - 1) * softplus - x, q * small / (1 + z), -1 - (pos_weight - 1) * s};
}

double share(Reduction reduction, std::int64_t n) {
  return reduction == Reduction::mean ? 1 / static_cast<double>(n) : 1;
}

template <class T> void forward(const BceWithLogitsForwardArgs& a) {
  using A = accumulate_t<T>;
  const auto x = matrix<T>(a.x), t = matrix<T>(a.target), w = matrix<T>(a.weight, 1, 1);
  const double scale = share(a.reduction, a.n);
  long double total = 0;  // so that the oracle's own sum is exact enough for f64
  for (std::int64_t i = 0; i < a.n; ++i) {
    const Element e = element(x[i], t[i], a.pos_weight);
    total += w[i] * e.loss;
    if (a.reduction == Reduction::none) put<A>(a.loss, i, w[i] * e.loss);
    put<T>(a.dx_of_one, i, scale * w[i] * e.by_x);
  }
  if (a.reduction != Reduction::none) put<A>(a.loss, 0, static_cast<double>(total) * scale);
}

template <class T> void backward(const BceWithLogitsBackwardArgs& a) {
  const auto x = matrix<T>(a.x), t = matrix<T>(a.target), w = matrix<T>(a.weight, 1, 1);
  const auto dloss = matrix<accumulate_t<T>>(a.dloss);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const Element e = element(x[i], t[i], a.pos_weight);
    const double slope =
        w[i] * (a.reduction == Reduction::none ? dloss[i] : dloss[0] * share(a.reduction, a.n));
    put<T>(a.dx, i, slope * e.by_x);
    put<T>(a.dtarget, i, slope * e.by_t);
  }
}

template <class T> void double_backward(const BceWithLogitsDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const auto x = matrix<T>(a.x), t = matrix<T>(a.target), w = matrix<T>(a.weight, 1, 1);
  const auto ddx = matrix<T>(a.ddx), ddt = matrix<T>(a.ddtarget);
  const auto dloss = matrix<A>(a.dloss);
  long double total = 0;  // so that the oracle's own sum is exact enough for f64
  for (std::int64_t i = 0; i < a.n; ++i) {
    const Element e = element(x[i], t[i], a.pos_weight);
    const double slope =
        w[i] * (a.reduction == Reduction::none ? dloss[i] : dloss[0] * share(a.reduction, a.n));
    put<T>(a.dx2, i, slope * (ddx[i] * e.by_xx + ddt[i] * e.by_xt));
    put<T>(a.dtarget2, i, slope * ddx[i] * e.by_xt);
    const double change = w[i] * (ddx[i] * e.by_x + ddt[i] * e.by_t);
    total += change;
    if (a.reduction == Reduction::none) put<A>(a.ddloss, i, change);
  }
  if (a.reduction != Reduction::none)
    put<A>(a.ddloss, 0, static_cast<double>(total) * share(a.reduction, a.n));
}

}  // namespace

void register_bce_with_logits_naive() {
  bce_with_logits_forward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const BceWithLogitsForwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { forward<T>(a); });
       }});
  bce_with_logits_backward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const BceWithLogitsBackwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { backward<T>(a); });
       }});
  bce_with_logits_double_backward.add({"naive", DeviceType::cpu, 0, nullptr,
                                       [](const Stream&, const BceWithLogitsDoubleBackwardArgs& a) {
                                         dispatch_float(a.dtype,
                                                        [&]<class T>() { double_backward<T>(a); });
                                       }});
}

}  // namespace mettle::kernels::cpu
