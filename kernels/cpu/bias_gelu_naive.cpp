// bias + GELU as plain scalar loops in f64 with the C library's erfc and tanh: the oracle of the
// fast kernels.
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/bias_gelu.h"
#include "kernels/cpu/naive.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {
namespace {

struct Point {
  double value, first, second;
};

Point gelu(GeluForm form, double z) {
  if (form == GeluForm::erf) {
    const double cdf = 0.5 * std::erfc(-z / std::numbers::sqrt2);
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    return {z * cdf, cdf + z * density, density * (2 - z * z)};
  }
  const double k = std::sqrt(2 / std::numbers::pi);
  const double u = k * (z + 0.044715 * z * z * z);
  const double u1 = k * (1 + 3 * 0.044715 * z * z), u2 = k * 6 * 0.044715 * z;
  const double gate = 1 / (1 + std::exp(-2 * u));  // (1 + tanh u) / 2
  const double sech = 1 / std::cosh(u), bend = sech * sech;
  return {z * gate, gate + 0.5 * z * bend * u1,
          bend * u1 + 0.5 * z * bend * (u2 - 2 * std::tanh(u) * u1 * u1)};
}

template <class T> void forward(const BiasGeluForwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), bias = matrix<T>(a.bias, a.columns);
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j < a.columns; ++j)
      put<T>(a.y, i * a.columns + j,
             gelu(a.form, x(i, j) + bias(i / (a.rows / a.groups), j)).value);
}

template <class T> void backward(const BiasGeluBackwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), bias = matrix<T>(a.bias, a.columns),
             dy = matrix<T>(a.dy, a.columns);
  const std::int64_t per_group = a.rows / a.groups;
  for (std::int64_t g = 0; g < a.groups; ++g)
    for (std::int64_t j = 0; j < a.columns; ++j) {
      double total = 0;
      for (std::int64_t i = g * per_group; i < (g + 1) * per_group; ++i) {
        const double dx = dy(i, j) * gelu(a.form, x(i, j) + bias(g, j)).first;
        put<T>(a.dx, i * a.columns + j, dx);
        total += dx;
      }
      put<T>(a.dbias, g * a.columns + j, total);
    }
}

template <class T> void double_backward(const BiasGeluDoubleBackwardArgs& a) {
  const auto x = matrix<T>(a.x, a.columns), bias = matrix<T>(a.bias, a.columns),
             dy = matrix<T>(a.dy, a.columns), ddx = matrix<T>(a.ddx, a.columns),
             ddbias = matrix<T>(a.ddbias, a.columns);
  const std::int64_t per_group = a.rows / a.groups;
  for (std::int64_t g = 0; g < a.groups; ++g)
    for (std::int64_t j = 0; j < a.columns; ++j) {
      double total = 0;
      for (std::int64_t i = g * per_group; i < (g + 1) * per_group; ++i) {
        const Point point = gelu(a.form, x(i, j) + bias(g, j));
        const double e = ddx(i, j) + ddbias(g, j);
        put<T>(a.ddy, i * a.columns + j, e * point.first);
        put<T>(a.dx2, i * a.columns + j, e * dy(i, j) * point.second);
        total += e * dy(i, j) * point.second;
      }
      put<T>(a.dbias2, g * a.columns + j, total);
    }
}

}  // namespace

void register_bias_gelu_naive() {
  bias_gelu_forward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const BiasGeluForwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { forward<T>(a); });
       }});
  bias_gelu_backward.add(
      {"naive", DeviceType::cpu, 0, nullptr, [](const Stream&, const BiasGeluBackwardArgs& a) {
         dispatch_float(a.dtype, [&]<class T>() { backward<T>(a); });
       }});
  bias_gelu_double_backward.add({"naive", DeviceType::cpu, 0, nullptr,
                                 [](const Stream&, const BiasGeluDoubleBackwardArgs& a) {
                                   dispatch_float(a.dtype,
                                                  [&]<class T>() { double_backward<T>(a); });
                                 }});
}

}  // namespace mettle::kernels::cpu
