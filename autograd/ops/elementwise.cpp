// Elementwise primitives and their gradient rules.
#include <cmath>
#include <numbers>

#include "autograd/ops/support.h"

namespace mettle {

using kernels::BinaryOp;
using kernels::CompareOp;
using kernels::UnaryOp;
using ops::map;

// ---- two arguments ------------------------------------------------------------------------------

Variable add(const Variable& a, const Variable& b) {
  return record("add", map(BinaryOp::add, a.value(), b.value(), "add"), {&a, &b},
                [sa = a.shape(), sb = b.shape()](const Backward& g) -> Variables {
                  return {sum_to(g.dy(), sa), sum_to(g.dy(), sb)};
                });
}

Variable sub(const Variable& a, const Variable& b) {
  return record("sub", map(BinaryOp::sub, a.value(), b.value(), "sub"), {&a, &b},
                [sa = a.shape(), sb = b.shape()](const Backward& g) -> Variables {
                  return {g.needs(0) ? sum_to(g.dy(), sa) : Variable(),
                          g.needs(1) ? neg(sum_to(g.dy(), sb)) : Variable()};
                });
}

Variable mul(const Variable& a, const Variable& b) {
  return record("mul", map(BinaryOp::mul, a.value(), b.value(), "mul"), {&a, &b},
                [a = Saved(a), b = Saved(b)](const Backward& g) -> Variables {
                  return {g.needs(0) ? sum_to(mul(g.dy(), g(b)), g(a).shape()) : Variable(),
                          g.needs(1) ? sum_to(mul(g.dy(), g(a)), g(b).shape()) : Variable()};
                });
}

Variable div(const Variable& a, const Variable& b) {
  return record(
      "div", map(BinaryOp::div, a.value(), b.value(), "div"), {&a, &b},
      [a = Saved(a), b = Saved(b)](const Backward& g) -> Variables {
        const Variable da = div(g.dy(), g(b));
        return {g.needs(0) ? sum_to(da, g(a).shape()) : Variable(),
                g.needs(1) ? neg(sum_to(mul(da, div(g(a), g(b))), g(b).shape())) : Variable()};
      });
}

Variable addcmul(const Variable& x, const Variable& a, const Variable& b, double scale) {
  const Tensor &tx = x.value(), &ta = a.value(), &tb = b.value();
  ops::check_floating(tx, "addcmul");
  ops::check_same(tx, ta, "addcmul");
  ops::check_same(ta, tb, "addcmul");
  const Shape shape =
      broadcast_shapes(tx.shape(), broadcast_shapes(ta.shape(), tb.shape(), "addcmul"), "addcmul");
  Tensor y = Tensor::empty(shape, tx.dtype(), tx.device());
  kernels::addcmul(
      current_stream(tx.device()),
      {tx.dtype(), tx.data(), ta.data(), tb.data(), y.data(), shape, tx.expand(shape).strides(),
       ta.expand(shape).strides(), tb.expand(shape).strides(), scale});
  // dy times scale times the other factor; the scale goes to the smaller operand.
  const auto slope = [scale](const Variable& dy, const Variable& other, const Shape& to) {
    const auto scaled = [scale](const Variable& v) { return scale == 1.0 ? v : mul(v, scale); };
    return other.numel() < dy.numel() ? sum_to(mul(dy, scaled(other)), to)
                                      : scaled(sum_to(mul(dy, other), to));
  };
  return record(
      "addcmul", std::move(y), {&x, &a, &b},
      [sx = tx.shape(), a = Saved(a), b = Saved(b), slope](const Backward& g) -> Variables {
        return {g.needs(0) ? sum_to(g.dy(), sx) : Variable(),
                g.needs(1) ? slope(g.dy(), g(b), g(a).shape()) : Variable(),
                g.needs(2) ? slope(g.dy(), g(a), g(b).shape()) : Variable()};
      });
}

namespace {

// maximum and minimum: the gradient follows a wherever a was taken.
Variable extremum(const char* name, BinaryOp op, const Variable& a, const Variable& b) {
  return record(name, map(op, a.value(), b.value(), name), {&a, &b},
                [a = Saved(a), b = Saved(b), op](const Backward& g) -> Variables {
                  const Variable took_a =
                      op == BinaryOp::maximum ? greater_equal(g(a), g(b)) : less_equal(g(a), g(b));
                  const Variable zero = full({}, 0.0, g.dy().dtype(), g.dy().device());
                  return {sum_to(where(took_a, g.dy(), zero), g(a).shape()),
                          sum_to(where(took_a, zero, g.dy()), g(b).shape())};
                });
}

Variable compare(const char* name, CompareOp op, const Variable& va, const Variable& vb) {
  const Tensor &a = va.value(), &b = vb.value();
  ops::check_same(a, b, name);
  Tensor y =
      Tensor::empty(broadcast_shapes(a.shape(), b.shape(), name), DType::boolean, a.device());
  kernels::compare(current_stream(a.device()),
                   {op, a.dtype(), a.data(), b.data(), y.data(), y.shape(),
                    a.expand(y.shape()).strides(), b.expand(y.shape()).strides()});
  return Variable(std::move(y));
}

}  // namespace

Variable maximum(const Variable& a, const Variable& b) {
  return extremum("maximum", BinaryOp::maximum, a, b);
}
Variable minimum(const Variable& a, const Variable& b) {
  return extremum("minimum", BinaryOp::minimum, a, b);
}

Variable equal(const Variable& a, const Variable& b) {
  return compare("equal", CompareOp::eq, a, b);
}
Variable not_equal(const Variable& a, const Variable& b) {
  return compare("not_equal", CompareOp::ne, a, b);
}
Variable less(const Variable& a, const Variable& b) { return compare("less", CompareOp::lt, a, b); }
Variable less_equal(const Variable& a, const Variable& b) {
  return compare("less_equal", CompareOp::le, a, b);
}
Variable greater(const Variable& a, const Variable& b) {
  return compare("greater", CompareOp::gt, a, b);
}
Variable greater_equal(const Variable& a, const Variable& b) {
  return compare("greater_equal", CompareOp::ge, a, b);
}

Variable where(const Variable& condition, const Variable& a, const Variable& b) {
  const Tensor &c = condition.value(), &ta = a.value(), &tb = b.value();
  METTLE_CHECK(DTypeError, c.dtype() == DType::boolean, "where: the condition must be bool, got {}",
               describe(c));
  ops::check_same(ta, tb, "where");
  METTLE_CHECK(DeviceError, c.device() == ta.device(), "where: {} and {} are on two devices",
               describe(c), describe(ta));
  const Shape shape =
      broadcast_shapes(c.shape(), broadcast_shapes(ta.shape(), tb.shape(), "where"), "where");
  Tensor y = Tensor::empty(shape, ta.dtype(), ta.device());
  kernels::where(
      current_stream(ta.device()),
      {ta.dtype(), c.data(), ta.data(), tb.data(), y.data(), shape, c.expand(shape).strides(),
       ta.expand(shape).strides(), tb.expand(shape).strides()});
  return record(
      "where", std::move(y), {&a, &b},
      [c = Saved(condition), sa = ta.shape(), sb = tb.shape()](const Backward& g) -> Variables {
        const Variable zero = full({}, 0.0, g.dy().dtype(), g.dy().device());
        return {g.needs(0) ? sum_to(where(g(c), g.dy(), zero), sa) : Variable(),
                g.needs(1) ? sum_to(where(g(c), zero, g.dy()), sb) : Variable()};
      });
}

// ---- one argument -------------------------------------------------------------------------------

namespace {

Tensor map_floating(const char* name, UnaryOp op, const Variable& x, double alpha = 1.0) {
  ops::check_floating(x.value(), name);
  return map(op, x.value(), alpha);
}

/// A function whose derivative is written in its argument: rule(dy, x).
template <class Rule>
Variable of_input(const char* name, UnaryOp op, const Variable& x, Rule rule) {
  return record(
      name, map_floating(name, op, x), {&x},
      [x = Saved(x), rule](const Backward& g) -> Variables { return {rule(g.dy(), g(x))}; });
}

/// A function whose derivative is written in its value: rule(dy, y).
template <class Rule>
Variable of_output(const char* name, UnaryOp op, const Variable& x, Rule rule) {
  Tensor y = map_floating(name, op, x);
  const SavedOutput saved(y);
  return record(name, std::move(y), {&x}, [saved, rule](const Backward& g) -> Variables {
    return {rule(g.dy(), g.output(saved))};
  });
}

}  // namespace

Variable affine(const Variable& x, double scale, double shift) {
  ops::check_arithmetic(x.value(), "affine");
  return record("affine", map(UnaryOp::affine, x.value(), scale, shift), {&x},
                [scale](const Backward& g) -> Variables {
                  return {scale == 1.0 ? g.dy() : affine(g.dy(), scale, 0.0)};
                });
}

Variable neg(const Variable& x) { return affine(x, -1.0, 0.0); }

Variable square(const Variable& x) { return mul(x, x); }

Variable abs(const Variable& x) {
  ops::check_arithmetic(x.value(), "abs");
  return record(
      "abs", map(UnaryOp::abs, x.value()), {&x},
      [x = Saved(x)](const Backward& g) -> Variables { return {mul(g.dy(), sign(g(x)))}; });
}

Variable sign(const Variable& x) {
  ops::check_arithmetic(x.value(), "sign");
  return Variable(map(UnaryOp::sign, x.value()));
}

Variable exp(const Variable& x) {
  return of_output("exp", UnaryOp::exp, x,
                   [](const Variable& dy, const Variable& y) { return mul(dy, y); });
}

Variable log(const Variable& x) {
  return of_input("log", UnaryOp::log, x,
                  [](const Variable& dy, const Variable& v) { return div(dy, v); });
}

Variable log1p(const Variable& x) {
  return of_input("log1p", UnaryOp::log1p, x,
                  [](const Variable& dy, const Variable& v) { return div(dy, add(v, 1.0)); });
}

Variable sqrt(const Variable& x) {
  return of_output("sqrt", UnaryOp::sqrt, x,
                   [](const Variable& dy, const Variable& y) { return div(mul(dy, 0.5), y); });
}

Variable rsqrt(const Variable& x) {
  return of_output("rsqrt", UnaryOp::rsqrt, x, [](const Variable& dy, const Variable& y) {
    return mul(mul(dy, -0.5), mul(y, mul(y, y)));
  });
}

Variable reciprocal(const Variable& x) {
  return of_output("reciprocal", UnaryOp::reciprocal, x,
                   [](const Variable& dy, const Variable& y) { return neg(mul(dy, mul(y, y))); });
}

Variable sin(const Variable& x) {
  return of_input("sin", UnaryOp::sin, x,
                  [](const Variable& dy, const Variable& v) { return mul(dy, cos(v)); });
}

Variable cos(const Variable& x) {
  return of_input("cos", UnaryOp::cos, x,
                  [](const Variable& dy, const Variable& v) { return neg(mul(dy, sin(v))); });
}

Variable tanh(const Variable& x) { return of_output("tanh", UnaryOp::tanh, x, tanh_backward); }

Variable sigmoid(const Variable& x) {
  return of_output("sigmoid", UnaryOp::sigmoid, x, sigmoid_backward);
}

namespace {

/// dy f(y), where f'(y) = bend - 2 y.
Variable slope_in_output(const char* name, BinaryOp op, const Variable& dy, const Variable& y,
                         double bend) {
  ops::check_floating(dy.value(), name);
  return record(
      name, map(op, dy.value(), y.value(), name), {&dy, &y},
      [name, op, bend, dy = Saved(dy), y = Saved(y)](const Backward& g) -> Variables {
        return {g.needs(0) ? sum_to(slope_in_output(name, op, g.dy(), g(y), bend), g(dy).shape())
                           : Variable(),
                g.needs(1) ? sum_to(mul(mul(g.dy(), g(dy)), affine(g(y), -2.0, bend)), g(y).shape())
                           : Variable()};
      });
}

}  // namespace

Variable tanh_backward(const Variable& dy, const Variable& y) {
  return slope_in_output("tanh_backward", BinaryOp::tanh_backward, dy, y, 0.0);
}

Variable sigmoid_backward(const Variable& dy, const Variable& y) {
  return slope_in_output("sigmoid_backward", BinaryOp::sigmoid_backward, dy, y, 1.0);
}

Variable erf(const Variable& x) {
  return of_input("erf", UnaryOp::erf, x, [](const Variable& dy, const Variable& v) {
    return mul(dy, mul(exp(neg(mul(v, v))), 2.0 * std::numbers::inv_sqrtpi));
  });
}

Variable relu(const Variable& x) {
  return of_output("relu", UnaryOp::relu, x, [](const Variable& dy, const Variable& y) {
    const Variable zero = full({}, 0.0, dy.dtype(), dy.device());
    return where(greater(y, zero), dy, zero);
  });
}

Variable softplus(const Variable& x) {
  return of_input("softplus", UnaryOp::softplus, x,
                  [](const Variable& dy, const Variable& v) { return mul(dy, sigmoid(v)); });
}

Variable log_sigmoid(const Variable& x) { return neg(softplus(neg(x))); }

Variable silu(const Variable& x) {
  ops::check_floating(x.value(), "silu");
  return ops::in_wide(x, [](const Variable& v) { return mul(v, sigmoid(v)); });
}

Variable clamp(const Variable& x, double low, double high) {
  ops::check_floating(x.value(), "clamp");
  METTLE_CHECK(ValueError, low <= high, "clamp: low {} is above high {}", low, high);
  const Tensor y = map(UnaryOp::clamp, x.value(), low, high);
  return record("clamp", y, {&x}, [x = Saved(x), y](const Backward& g) -> Variables {
    const Variable zero = full({}, 0.0, g.dy().dtype(), g.dy().device());
    return {where(equal(g(x), Variable(y)), g.dy(), zero)};
  });
}

Variable isnan(const Variable& x) { return not_equal(x, x); }

Variable isfinite(const Variable& x) {
  // x - x is 0 for finite numbers and NaN for the others. Integers are all finite.
  if (!is_floating(x.dtype())) return equal(x, x);
  const Variable v = x.detach(), difference = sub(v, v);
  return equal(difference, difference);
}

Variable pow(const Variable& x, double exponent) {
  if (exponent == 0.0) return full_like(x, 1.0);
  return record("pow", map_floating("pow", UnaryOp::power, x, exponent), {&x},
                [x = Saved(x), exponent](const Backward& g) -> Variables {
                  return {mul(g.dy(), mul(pow(g(x), exponent - 1.0), exponent))};
                });
}

}  // namespace mettle
