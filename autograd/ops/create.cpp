// Constants and random values.
#include <cmath>
#include <numbers>

#include "autograd/ops/support.h"
#include "kernels/copy.h"
#include "kernels/random.h"

namespace mettle {

Variable full(const Shape& shape, double value, DType dtype, Device device) {
  return Variable(ops::filled(shape, value, dtype, device));
}

Variable full_like(const Variable& x, double value) {
  return Variable(ops::filled(x.shape(), value, x.dtype(), x.device()));
}

Variable arange(std::int64_t n, Device device) {
  METTLE_CHECK(ShapeError, n >= 0, "arange: {} is negative", n);
  Tensor y = Tensor::empty({n}, DType::i64, device);
  kernels::arange(current_stream(device), {y.data<std::int64_t>(), n});
  return Variable(std::move(y));
}

namespace {

Variable random(kernels::Distribution distribution, const Shape& shape, const RandomKey& key,
                double a, double b, DType dtype, Device device) {
  Tensor y = Tensor::empty(shape, dtype, device);
  kernels::random_fill(current_stream(y.device()), {distribution, dtype, y.data(), y.numel(),
                                                    key.on(y.device(), "random numbers"), a, b});
  return Variable(std::move(y));
}

}  // namespace

Variable uniform(const Shape& shape, const RandomKey& key, double low, double high, DType dtype,
                 Device device) {
  METTLE_CHECK(ValueError, low <= high, "uniform: low {} is above high {}", low, high);
  return random(kernels::Distribution::uniform, shape, key, low, high, dtype, device);
}

Variable normal(const Shape& shape, const RandomKey& key, double mean, double deviation,
                DType dtype, Device device) {
  METTLE_CHECK(ValueError, deviation >= 0, "normal: the deviation {} is negative", deviation);
  return random(kernels::Distribution::normal, shape, key, mean, deviation, dtype, device);
}

// Truncation of a uniform f64: no number is likelier than another by more than range / 2^53.
Variable randint(const Shape& shape, const RandomKey& key, std::int64_t low, std::int64_t high,
                 Device device) {
  METTLE_CHECK(ValueError, low < high, "randint: no integer lies in [{}, {})", low, high);
  const double range = static_cast<double>(high) - static_cast<double>(low);
  METTLE_CHECK(ValueError, range <= 0x1p32 && std::abs(static_cast<double>(low)) <= 0x1p52,
               "randint: [{}, {}) is wider than 2^32 or beyond 2^52", low, high);
  const Variable steps = cast(uniform(shape, key, 0.0, range, DType::f64, device), DType::i64);
  return add(steps, static_cast<double>(low));
}

}  // namespace mettle
