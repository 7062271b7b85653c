// Rows of the elementwise operations.
#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using Grids = std::vector<Grid>;

OpRow unary(std::string operation, const std::function<Variable(const Variable&)>& f,
            std::function<double(double)> scalar, double low = 0.2, double high = 1.2) {
  return {std::move(operation),
          "",
          {{2, 3}},
          {{0, 3}},
          {{150, 300}},
          [f](In i) { return Variables{f(i[0])}; },
          [scalar](const Grids& x) {
            return make_grid(x[0].shape, [&](const Dims& at) { return scalar(x[0].at(at)); });
          },
          low,
          high};
}

/// Equal shapes, and shapes that broadcast over each other.
void binary(std::vector<OpRow>& rows, const std::string& operation,
            const std::function<Variable(const Variable&, const Variable&)>& f,
            const std::function<double(double, double)>& scalar) {
  const Function call = [f](In i) { return Variables{f(i[0], i[1])}; };
  const Oracle oracle = [scalar](const Grids& x) {
    return make_grid(broadcast_shapes(x[0].shape, x[1].shape, "oracle"),
                     [&](const Dims& at) { return scalar(x[0].at(at), x[1].at(at)); });
  };
  rows.push_back(
      {operation, "", {{2, 3}, {2, 3}}, {{0, 3}, {0, 3}}, {{150, 300}, {150, 300}}, call, oracle});
  rows.push_back({operation,
                  "broadcast",
                  {{2, 1, 3}, {4, 1}},
                  {{0, 1, 3}, {4, 1}},
                  {{150, 1, 30}, {10, 1}},
                  call,
                  oracle});
}

double log_of_sigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

std::vector<OpRow> one_argument() {
  const auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  return {
      unary(
          "affine", [](const Variable& x) { return affine(x, -2.0, 0.5); },
          [](double x) { return -2 * x + 0.5; }),
      unary("neg", neg, [](double x) { return -x; }),
      unary(
          "abs", mettle::abs, [](double x) { return std::abs(x); }, -1.3, -0.2),
      unary(
          "sign", sign, [](double) { return -1.0; }, -1.3, -0.2),
      unary(
          "exp", mettle::exp, [](double x) { return std::exp(x); }, -2, 2),
      unary("log", mettle::log, [](double x) { return std::log(x); }),
      unary("log1p", mettle::log1p, [](double x) { return std::log1p(x); }),
      unary("sqrt", mettle::sqrt, [](double x) { return std::sqrt(x); }),
      unary("rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }),
      unary("reciprocal", reciprocal, [](double x) { return 1 / x; }),
      unary(
          "sin", mettle::sin, [](double x) { return std::sin(x); }, -3, 3),
      unary(
          "cos", mettle::cos, [](double x) { return std::cos(x); }, -3, 3),
      unary(
          "tanh", mettle::tanh, [](double x) { return std::tanh(x); }, -2, 2),
      unary("sigmoid", sigmoid, logistic, -4, 4),
      unary(
          "erf", mettle::erf, [](double x) { return std::erf(x); }, -2, 2),
      unary("relu", relu, [](double x) { return std::max(x, 0.0); }),
      unary(
          "pow", [](const Variable& x) { return mettle::pow(x, 2.5); },
          [](double x) { return std::pow(x, 2.5); }),
      unary(
          "square", square, [](double x) { return x * x; }, -2, 2),
      unary(
          "softplus", softplus, [=](double x) { return -log_of_sigmoid(-x); }, -3, 3),
      unary("log_sigmoid", log_sigmoid, log_of_sigmoid, -3, 3),
      unary(
          "silu", silu, [=](double x) { return x * logistic(x); }, -3, 3),
      unary(
          "clamp", [](const Variable& x) { return clamp(x, 0.5, 0.75); },
          [](double x) { return std::clamp(x, 0.5, 0.75); }),
      unary("alias", alias, [](double x) { return x; }),
      unary("contiguous", contiguous, [](double x) { return x; }),
  };
}

/// Equal shapes, a scalar factor as of an inner rate, and three shapes that broadcast over each
/// other.
void add_addcmul(std::vector<OpRow>& rows) {
  const auto row = [&](const char* variant, double scale, std::vector<Shape> shapes,
                       std::vector<Shape> empty, std::vector<Shape> large) {
    rows.push_back({"addcmul", variant, std::move(shapes), std::move(empty), std::move(large),
                    [scale](In i) { return Variables{addcmul(i[0], i[1], i[2], scale)}; },
                    [scale](const Grids& x) {
                      Shape shape = broadcast_shapes(x[1].shape, x[2].shape, "oracle");
                      shape = broadcast_shapes(x[0].shape, shape, "oracle");
                      return make_grid(shape, [&](const Dims& at) {
                        return x[0].at(at) + scale * x[1].at(at) * x[2].at(at);
                      });
                    }});
  };
  row("", 1.0, {{2, 3}, {2, 3}, {2, 3}}, {{0, 3}, {0, 3}, {0, 3}},
      {{150, 300}, {150, 300}, {150, 300}});
  row("rate", -1.0, {{2, 3}, {}, {2, 3}}, {{0, 3}, {}, {0, 3}}, {{150, 300}, {}, {150, 300}});
  row("broadcast", 0.5, {{3}, {2, 1, 3}, {4, 1}}, {{3}, {0, 1, 3}, {4, 1}},
      {{30}, {150, 1, 30}, {10, 1}});
}

void with_numbers(std::vector<OpRow>& rows) {
  const auto row = [&](const char* operation, const char* variant,
                       const std::function<Variable(const Variable&)>& f,
                       std::function<double(double)> scalar) {
    rows.push_back(unary(operation, f, std::move(scalar)));
    rows.back().variant = variant;
  };
  row(
      "add", "number", [](const Variable& x) { return add(add(x, 2.0), add(1.0, x)); },
      [](double x) { return 2 * x + 3; });
  row(
      "sub", "number", [](const Variable& x) { return sub(sub(x, 2.0), sub(1.0, x)); },
      [](double x) { return 2 * x - 3; });
  row(
      "mul", "number", [](const Variable& x) { return mul(mul(2.0, x), 3.0); },
      [](double x) { return 6 * x; });
  row(
      "div", "number", [](const Variable& x) { return div(x, 4.0); },
      [](double x) { return x / 4; });
  row(
      "operator+", "number", [](const Variable& x) { return (x + 2.0) + (1.0 + x); },
      [](double x) { return 2 * x + 3; });
  row(
      "operator-", "number", [](const Variable& x) { return -((x - 2.0) - (1.0 - x)); },
      [](double x) { return 3 - 2 * x; });
  row(
      "operator*", "number", [](const Variable& x) { return 2.0 * x * 3.0; },
      [](double x) { return 6 * x; });
  row(
      "operator/", "number", [](const Variable& x) { return x / 4.0; },
      [](double x) { return x / 4; });
  for (OpRow& r : rows)
    if (r.variant == "number") r.roundings = 16;
}

}  // namespace

std::vector<OpRow> elementwise_rows() {
  std::vector<OpRow> rows = one_argument();
  binary(
      rows, "add", [](auto& a, auto& b) { return add(a, b); }, std::plus());
  binary(
      rows, "sub", [](auto& a, auto& b) { return sub(a, b); }, std::minus());
  binary(
      rows, "mul", [](auto& a, auto& b) { return mul(a, b); }, std::multiplies());
  binary(
      rows, "div", [](auto& a, auto& b) { return div(a, b); }, std::divides());
  binary(
      rows, "operator+", [](auto& a, auto& b) { return a + b; }, std::plus());
  binary(
      rows, "operator-", [](auto& a, auto& b) { return a - b; }, std::minus());
  binary(
      rows, "operator*", [](auto& a, auto& b) { return a * b; }, std::multiplies());
  binary(
      rows, "operator/", [](auto& a, auto& b) { return a / b; }, std::divides());
  binary(
      rows, "maximum", [](auto& a, auto& b) { return maximum(a, b); },
      [](double a, double b) { return std::max(a, b); });
  binary(
      rows, "minimum", [](auto& a, auto& b) { return minimum(a, b); },
      [](double a, double b) { return std::min(a, b); });
  binary(
      rows, "where", [](auto& a, auto& b) { return where(greater(a, b), a, b * 2.0); },
      [](double a, double b) { return a > b ? a : 2 * b; });
  binary(
      rows, "tanh_backward", [](auto& a, auto& b) { return tanh_backward(a, b); },
      [](double dy, double y) { return dy * (1 - y * y); });
  binary(
      rows, "sigmoid_backward", [](auto& a, auto& b) { return sigmoid_backward(a, b); },
      [](double dy, double y) { return dy * y * (1 - y); });
  add_addcmul(rows);
  with_numbers(rows);
  return rows;
}

}  // namespace mettle::test
