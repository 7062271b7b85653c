// Layer normalisation as plain scalar loops in f64 for every dtype: the oracle of the fast kernels.
#include <cmath>
#include <vector>

#include "kernels/cpu/naive.h"
#include "kernels/cpu/register.h"
#include "kernels/layer_norm.h"

namespace mettle::kernels::cpu {
namespace {

template <class T> void forward(const LayerNormForwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), gamma = matrix<T>(a.gamma, a.columns, 1),
             beta = matrix<T>(a.beta, a.columns);
  const double n = static_cast<double>(a.columns);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    double mean = 0, variance = 0;
    for (std::int64_t j = 0; j < a.columns; ++j) mean += x(i, j) / n;
    for (std::int64_t j = 0; j < a.columns; ++j) variance += std::pow(x(i, j) - mean, 2) / n;
    const double rstd = 1 / std::sqrt(variance + a.eps);
    const std::int64_t g = i / (a.rows / a.groups);
    for (std::int64_t j = 0; j < a.columns; ++j)
      put<T>(a.y, i * a.columns + j, (x(i, j) - mean) * rstd * gamma(g, j) + beta(g, j));
    put<accumulate_t<T>>(a.mean, i, mean);
    put<accumulate_t<T>>(a.rstd, i, rstd);
  }
}

template <class T> void backward(const LayerNormBackwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), gamma = matrix<T>(a.gamma, a.columns, 1),
             dy = matrix<T>(a.dy, a.columns);
  const auto mean = matrix<accumulate_t<T>>(a.mean, 1), rstd = matrix<accumulate_t<T>>(a.rstd, 1);
  const double n = static_cast<double>(a.columns);
  const std::int64_t per_group = a.rows / a.groups;
  const auto xhat = [&](std::int64_t i, std::int64_t j) {
    return (x(i, j) - mean(i, 0)) * rstd(i, 0);
  };
  for (std::int64_t i = 0; i < a.rows && a.dx; ++i) {
    double mean_g = 0, q = 0;
    const auto g = [&](std::int64_t j) { return gamma(i / per_group, j) * dy(i, j); };
    for (std::int64_t j = 0; j < a.columns; ++j) {
      mean_g += g(j) / n;
      q += g(j) * xhat(i, j) / n;
    }
    for (std::int64_t j = 0; j < a.columns; ++j)
      put<T>(a.dx, i * a.columns + j, rstd(i, 0) * (g(j) - mean_g - xhat(i, j) * q));
  }
  for (std::int64_t g = 0; g < a.groups; ++g)
    for (std::int64_t j = 0; j < a.columns; ++j) {
      double dgamma = 0, dbeta = 0;
      for (std::int64_t i = g * per_group; i < (g + 1) * per_group; ++i) {
        dgamma += dy(i, j) * xhat(i, j);
        dbeta += dy(i, j);
      }
      put<T>(a.dgamma, g * a.columns + j, dgamma);
      put<T>(a.dbeta, g * a.columns + j, dbeta);
    }
}

// In the symbols of the derivation in layer_norm-inl.h.
template <class T> void double_backward(const LayerNormDoubleBackwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), gamma = matrix<T>(a.gamma, a.columns, 1),
             dy = matrix<T>(a.dy, a.columns), u = matrix<T>(a.ddx, a.columns),
             c = matrix<T>(a.ddgamma, a.columns), e = matrix<T>(a.ddbeta, a.columns);
  const auto mean = matrix<accumulate_t<T>>(a.mean, 1), rstd = matrix<accumulate_t<T>>(a.rstd, 1);
  const double n = static_cast<double>(a.columns);
  const std::int64_t per_group = a.rows / a.groups;
  for (std::int64_t t = 0; t < a.groups; ++t) {
    std::vector<double> dgamma2(static_cast<std::size_t>(a.columns));
    for (std::int64_t i = t * per_group; i < (t + 1) * per_group; ++i) {
      const double r = rstd(i, 0);
      const auto xhat = [&](std::int64_t j) { return (x(i, j) - mean(i, 0)) * r; };
      const auto g = [&](std::int64_t j) { return gamma(t, j) * dy(i, j); };
      double mu = 0, mg = 0, mug = 0, p = 0, q = 0;
      for (std::int64_t j = 0; j < a.columns; ++j) {
        mu += u(i, j) / n;
        mg += g(j) / n;
        mug += u(i, j) * g(j) / n;
        p += u(i, j) * xhat(j) / n;
        q += g(j) * xhat(j) / n;
      }
      const auto h = [&](std::int64_t j) {
        return c(t, j) * dy(i, j) - r * (q * u(i, j) + p * g(j));
      };
      double mh = 0, mhx = 0;
      for (std::int64_t j = 0; j < a.columns; ++j) {
        mh += h(j) / n;
        mhx += h(j) * xhat(j) / n;
      }
      const double s = mug - mu * mg - p * q;
      for (std::int64_t j = 0; j < a.columns; ++j) {
        const double w = r * (u(i, j) - mu - xhat(j) * p);
        put<T>(a.ddy, i * a.columns + j, gamma(t, j) * w + c(t, j) * xhat(j) + e(t, j));
        put<T>(a.dx2, i * a.columns + j, r * (h(j) - mh - xhat(j) * (mhx + r * s)));
        dgamma2[static_cast<std::size_t>(j)] += dy(i, j) * w;
      }
    }
    for (std::int64_t j = 0; j < a.columns; ++j)
      put<T>(a.dgamma2, t * a.columns + j, dgamma2[static_cast<std::size_t>(j)]);
  }
}

}  // namespace

void register_layer_norm_naive() {
  layer_norm_forward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const LayerNormForwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { forward<T>(a); });
       }});
  layer_norm_backward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const LayerNormBackwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { backward<T>(a); });
       }});
  layer_norm_double_backward.add({"naive", DeviceType::cpu, 0, nullptr,
                                  [](const Stream&, const LayerNormDoubleBackwardArgs& a) {
                                    dispatch_float(a.dtype,
                                                   [&]<class T>() { double_backward<T>(a); });
                                  }});
}

}  // namespace mettle::kernels::cpu
