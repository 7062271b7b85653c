// A program that embeds Mettle: a second derivative, a training loop, and a meta-gradient through
// an inner step of gradient descent. Ends with 1 when a number is not what mathematics says.
#include <mettle/mettle.h>

#include <cmath>
#include <cstdio>
#include <exception>

#include "models/sine_network.h"

namespace {

using mettle::DType, mettle::Tensor, mettle::Variable, mettle::Variables;

bool report(const char* what, double got, double want, double tolerance) {
  const bool ok = std::abs(got - want) <= tolerance;
  std::printf("%-44s %12.8f  expected %12.8f  %s\n", what, got, want, ok ? "ok" : "WRONG");
  return ok;
}

// d2/dx2 tanh(x) = -2 tanh(x) (1 - tanh(x)^2).
bool second_derivative() {
  const Variable x(Tensor::from(std::vector<double>{0.7}, {}), true);
  const Variable first = grad(tanh(x), {x}, {.create_graph = true})[0];
  const double t = std::tanh(0.7);
  return report("second derivative of tanh at 0.7", grad(first, {x})[0].item(),
                -2 * t * (1 - t * t), 1e-12);
}

// 300 steps of gradient descent on 64 points of a sine.
bool training() {
  mettle::Generator random(1);
  const Variable x = uniform({64, 1}, random.next_key(), -3.0, 3.0, DType::f64);
  const Variable y = sin(x);
  Variables weights = initial_weights(16, random);
  for (int step = 0; step < 300; ++step) {
    const Variables gradients = grad(loss(weights, x, y), weights);
    const mettle::NoGrad off;
    for (std::size_t i = 0; i < weights.size(); ++i)
      weights[i] = (weights[i] - 0.1 * gradients[i]).detach_requires_grad();
  }
  return report("loss after training on a sine", loss(weights, x, y).item(), 0.0, 0.02);
}

// Adapt w to a task by one step w' = w - a (w - s), then measure (w' - q)^2 / 2. The meta-gradient
// passes through the step: (1 - a) (w' - q).
bool meta_gradient() {
  const double rate = 0.25, support = 2.0, query = -1.0;
  const Variable w(Tensor::from(std::vector<double>{0.5}, {}), true);
  const Variable inner = 0.5 * square(w - support);
  const Variable adapted = w - rate * grad(inner, {w}, {.create_graph = true})[0];
  const Variable outer = 0.5 * square(adapted - query);
  const double at = 0.5 - rate * (0.5 - support);
  return report("meta-gradient through one inner step", grad(outer, {w})[0].item(),
                (1 - rate) * (at - query), 1e-12);
}

// Misuse is an exception that says what does not fit.
bool an_error_with_a_reason() {
  try {
    matmul(mettle::full({2, 3}, 1.0), mettle::full({4, 5}, 1.0));
  } catch (const mettle::ShapeError& error) {
    std::printf("%s\n", error.message().c_str());
    return true;
  }
  return false;
}

}  // namespace

int main() {
  try {
    const bool ok = second_derivative() & training() & meta_gradient() & an_error_with_a_reason();
    return ok ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
