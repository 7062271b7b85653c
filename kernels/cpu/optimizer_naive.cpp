// Optimizer steps and norms as plain scalar loops in f64: the oracle of the fast kernels.
#include <cmath>

#include "kernels/cpu/naive.h"
#include "kernels/cpu/optimizer_check.h"
#include "kernels/cpu/optimizer_numbers.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {
namespace {

template <class T> void adam(const AdamStepArgs& a) {
  for (std::int64_t k = 0; k < a.count; ++k) {
    const AdamTensor& t = a.tensors[k];
    const auto step = static_cast<double>(t.step);
    const auto param = matrix<T>(t.param), grad = matrix<T>(t.grad);
    const auto m = matrix<T>(t.m), v = matrix<T>(t.v);
    for (std::int64_t i = 0; i < t.n; ++i) {
      const double u = a.gradient_scale * grad[i] + t.l2 * param[i];
      const double m_new = a.beta1 * m[i] + (1 - a.beta1) * u;
      const double v_new = a.beta2 * v[i] + (1 - a.beta2) * u * u;
      const double mean = m_new / (1 - std::pow(a.beta1, step));
      const double spread = std::sqrt(v_new / (1 - std::pow(a.beta2, step)));
      put<T>(t.m, i, m_new);
      put<T>(t.v, i, v_new);
      put<T>(t.param, i, param[i] * (1 - t.lr * t.decay) - t.lr * mean / (spread + a.eps));
    }
  }
}

template <class T> void sgd(const SgdStepArgs& a) {
  for (std::int64_t k = 0; k < a.count; ++k) {
    const SgdTensor& t = a.tensors[k];
    const auto param = matrix<T>(t.param), grad = matrix<T>(t.grad),
               velocity = matrix<T>(t.velocity);
    for (std::int64_t i = 0; i < t.n; ++i) {
      const double u = a.gradient_scale * grad[i] + t.l2 * param[i];
      const double v_new = t.velocity ? a.momentum * velocity[i] + u : u;
      const double move = t.velocity && a.nesterov ? u + a.momentum * v_new : v_new;
      put<T>(t.velocity, i, v_new);
      put<T>(t.param, i, param[i] - t.lr * move);
    }
  }
}

template <class T> void norm(const GlobalNormArgs& a) {
  long double total = 0;  // so that the oracle's own sum is exact enough for f64
  for (std::int64_t k = 0; k < a.count; ++k)
    for (std::int64_t i = 0; i < a.tensors[k].n; ++i) {
      const double x = matrix<T>(a.tensors[k].data)[i];
      total += x * x;
    }
  *a.norm = static_cast<double>(std::sqrt(total));
}

}  // namespace

void register_optimizer_naive() {
  adam_step.add({"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const AdamStepArgs& a) {
                   check_step(a);
                   with_numbers<AdamTensor>(a, [](const AdamStepArgs& b) {
                     dispatch_float(b.dtype, [&]<class T>() { adam<T>(b); });
                   });
                 }});
  sgd_step.add({"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const SgdStepArgs& a) {
                  check_step(a);
                  with_numbers<SgdTensor>(a, [](const SgdStepArgs& b) {
                    dispatch_float(b.dtype, [&]<class T>() { sgd<T>(b); });
                  });
                }});
  global_norm.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const GlobalNormArgs& a) {
         dispatch_float(
             a.dtype, [&]<class T>() { norm<T>(a); }, "global_norm");
       }});
}

}  // namespace mettle::kernels::cpu
