// Softmax cross-entropy as plain scalar loops in f64: the oracle of the fast kernels. It computes
// its own softmax and reads no statistics.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/cross_entropy_targets.h"
#include "kernels/cpu/naive.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {
namespace {

/// log p and q of one row.
struct Distributions {
  std::vector<double> log_p, q;
  double highest, inverse;
};

template <class T>
Distributions distributions(const CrossEntropyRows& of, std::int64_t row, std::int64_t target) {
  const auto z = matrix<T>(of.logits, of.classes);
  const auto classes = static_cast<std::size_t>(of.classes);
  Distributions d{{}, std::vector<double>(classes, of.label_smoothing / double(of.classes)), 0, 0};
  d.q[static_cast<std::size_t>(target)] += 1 - of.label_smoothing;
  for (std::int64_t j = 0; j < of.classes; ++j) d.log_p.push_back(z(row, j));
  d.highest = *std::max_element(d.log_p.begin(), d.log_p.end());
  double total = 0;
  for (const double value : d.log_p) total += std::exp(value - d.highest);
  d.inverse = 1 / total;
  for (double& value : d.log_p) value -= d.highest + std::log(total);
  return d;
}

template <class T> void forward(const CrossEntropyForwardArgs& a) {
  using A = accumulate_t<T>;
  const CrossEntropyTargets target(a.of);
  for (std::int64_t row = 0; row < a.of.rows; ++row) {
    for (void* out : {a.loss, a.highest, a.inverse}) put<A>(out, row, 0);
    if (target.ignored(row)) continue;
    const Distributions d = distributions<T>(a.of, row, target[row]);
    double loss = 0;
    for (std::size_t j = 0; j < d.q.size(); ++j)
      if (d.q[j] > 0) loss -= d.q[j] * d.log_p[j];
    put<A>(a.loss, row, loss);
    put<A>(a.highest, row, d.highest);
    put<A>(a.inverse, row, d.inverse);
  }
}

template <class T> void backward(const CrossEntropyBackwardArgs& a) {
  const CrossEntropyTargets target(a.of);
  for (std::int64_t row = 0; row < a.of.rows; ++row) {
    const bool ignored = target.ignored(row);
    const Distributions d = distributions<T>(a.of, row, ignored ? 0 : target[row]);
    const double slope = ignored ? 0 : matrix<accumulate_t<T>>(a.dloss)[row];
    for (std::size_t j = 0; j < d.q.size(); ++j)
      put<T>(a.dlogits, row * a.of.classes + static_cast<std::int64_t>(j),
             ignored ? 0 : slope * (std::exp(d.log_p[j]) - d.q[j]));
  }
}

template <class T> void double_backward(const CrossEntropyDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const CrossEntropyTargets target(a.of);
  const auto u = matrix<T>(a.ddlogits, a.of.classes);
  for (std::int64_t row = 0; row < a.of.rows; ++row) {
    const bool ignored = target.ignored(row);
    const Distributions d = distributions<T>(a.of, row, ignored ? 0 : target[row]);
    double t = 0, by_q = 0;
    for (std::int64_t j = 0; j < a.of.classes; ++j) {
      t += u(row, j) * std::exp(d.log_p[static_cast<std::size_t>(j)]);
      by_q += u(row, j) * d.q[static_cast<std::size_t>(j)];
    }
    put<A>(a.ddloss, row, ignored ? 0 : t - by_q);
    const double slope = matrix<A>(a.dloss)[row];
    for (std::int64_t j = 0; j < a.of.classes; ++j)
      put<T>(
          a.dlogits2, row * a.of.classes + j,
          ignored ? 0 : slope * std::exp(d.log_p[static_cast<std::size_t>(j)]) * (u(row, j) - t));
  }
}

}  // namespace

void register_cross_entropy_naive() {
  cross_entropy_forward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const CrossEntropyForwardArgs& a) {
         dispatch_float(
             a.of.dtype, [&]<class T>() { forward<T>(a); }, "cross_entropy");
       }});
  cross_entropy_backward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const CrossEntropyBackwardArgs& a) {
         dispatch_float(
             a.of.dtype, [&]<class T>() { backward<T>(a); }, "cross_entropy");
       }});
  cross_entropy_double_backward.add({"naive", DeviceType::cpu, 0, nullptr,
                                     [](const Stream&, const CrossEntropyDoubleBackwardArgs& a) {
                                       dispatch_float(
                                           a.of.dtype, [&]<class T>() { double_backward<T>(a); },
                                           "cross_entropy");
                                     }});
}

}  // namespace mettle::kernels::cpu
