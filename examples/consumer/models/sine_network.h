// A two-layer network for y = sin(x), as a plain function of its weights. This folder is called
// models/ like one of Mettle's on purpose: a program's own headers never collide with the
// library's.
#pragma once

#include <mettle/mettle.h>

/// Weights in the order W1 (1, width), b1 (width), W2 (width, 1), b2 (1).
inline mettle::Variables initial_weights(std::int64_t width, mettle::Generator& random) {
  using mettle::normal, mettle::full, mettle::DType;
  const auto leaf = [](const mettle::Variable& v) { return v.detach_requires_grad(); };
  return {leaf(normal({1, width}, random.next_key(), 0.0, 1.0, DType::f64)),
          leaf(normal({width}, random.next_key(), 0.0, 1.0, DType::f64)),
          leaf(normal({width, 1}, random.next_key(), 0.0, 0.2, DType::f64)),
          leaf(full({1}, 0.0, DType::f64))};
}

/// (n, 1) -> (n, 1).
inline mettle::Variable predict(const mettle::Variables& w, const mettle::Variable& x) {
  return matmul(tanh(matmul(x, w[0]) + w[1]), w[2]) + w[3];
}

/// Mean squared error.
inline mettle::Variable loss(const mettle::Variables& w, const mettle::Variable& x,
                             const mettle::Variable& y) {
  return mean(square(predict(w, x) - y));
}
