// logsumexp, softmax and log_softmax over one axis. Each shifts by the largest element, so nothing
// overflows; the gradients are written in the three themselves. A row of nothing but -inf has the
// logsumexp -inf and the softmax 0.
#include <limits>

#include "autograd/ops/support.h"

namespace mettle {
namespace {

/// exp(x - top), its sum over the axis, and top: the largest element of each row, or the closest
/// finite number. The sum is at least 1, save for rows of nothing but -inf, where it is 0.
struct ShiftedRows {
  Variable x, top, exps, total;
};

// Not recorded, like all that the values are made of: the three have gradient rules of their own.
ShiftedRows shifted(const Variable& input, int axis) {
  const Variable x = input.detach();
  Shape row = x.shape();
  row[axis] = 1;
  const double largest = x.dtype() == DType::f64 ? std::numeric_limits<double>::max()
                                                 : std::numeric_limits<float>::max();
  const Variable top = x.size(axis) == 0 ? full(row, 0.0, x.dtype(), x.device())
                                         : clamp(max(x, axis, true), -largest, largest);
  const Variable exps = exp(sub(x, top));
  return {x, top, exps, sum(exps, {axis}, true)};
}

Variable at_least_one(const Variable& total) {
  return maximum(total, full({}, 1.0, total.dtype(), total.device()));
}

Variable wide_logsumexp(const Variable& x, int axis) {
  const ShiftedRows s = shifted(x, axis);
  Tensor y = add(log(s.total), s.top).value();
  return record("logsumexp", std::move(y), {&x},
                [x = Saved(x), axis](const Backward& g) -> Variables {
                  return {mul(g.dy(), softmax(g(x), axis))};
                });
}

Variable wide_softmax(const Variable& x, int axis) {
  const ShiftedRows s = shifted(x, axis);
  Tensor y = div(s.exps, at_least_one(s.total)).value();
  const SavedOutput saved(y);
  return record("softmax", std::move(y), {&x}, [saved, axis](const Backward& g) -> Variables {
    const Variable p = g.output(saved);
    return {mul(p, sub(g.dy(), sum(mul(g.dy(), p), {axis}, true)))};
  });
}

Variable wide_log_softmax(const Variable& x, int axis) {
  const ShiftedRows s = shifted(x, axis);
  Tensor y = sub(sub(s.x, s.top), log(at_least_one(s.total))).value();
  const SavedOutput saved(y);
  return record("log_softmax", std::move(y), {&x}, [saved, axis](const Backward& g) -> Variables {
    return {sub(g.dy(), mul(exp(g.output(saved)), sum(g.dy(), {axis}, true)))};
  });
}

/// f(x, axis) with a checked axis, in f32 at least.
Variable over_axis(const char* name, const Variable& x, int axis,
                   Variable (*f)(const Variable&, int)) {
  ops::check_floating(x.value(), name);
  const int at = normalize_axis(axis, x.rank(), name);
  return ops::in_wide(x, [at, f](const Variable& wide) { return f(wide, at); });
}

}  // namespace

Variable logsumexp(const Variable& x, int axis, bool keep_axis) {
  const Variable y = over_axis("logsumexp", x, axis, wide_logsumexp);
  return keep_axis ? y : squeeze(y, axis);
}
Variable softmax(const Variable& x, int axis) {
  return over_axis("softmax", x, axis, wide_softmax);
}
Variable log_softmax(const Variable& x, int axis) {
  return over_axis("log_softmax", x, axis, wide_log_softmax);
}

}  // namespace mettle
