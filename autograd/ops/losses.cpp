// Regression losses.
#include "autograd/ops/support.h"

namespace mettle {
namespace {

/// prediction - target in f32 at least.
Variable difference(const char* name, const Variable& prediction, const Variable& target) {
  ops::check_same(prediction.value(), target.value(), name);
  ops::check_floating(prediction.value(), name);
  METTLE_CHECK(ShapeError, prediction.shape() == target.shape(),
               "{}: prediction {} and target {} differ in shape; bring them to one with reshape() "
               "or expand()",
               name, to_string(prediction.shape()), to_string(target.shape()));
  const DType wide = ops::wide_dtype(prediction.dtype());
  return sub(cast(prediction, wide), cast(target, wide));
}

}  // namespace

Variable ops::reduced(const Variable& loss, Reduction reduction) {
  switch (reduction) {
    case Reduction::none: return loss;
    case Reduction::mean: return mean(loss);
    case Reduction::sum: return sum(loss);
  }
  return loss;
}

Variable mse_loss(const Variable& prediction, const Variable& target, Reduction reduction) {
  return ops::reduced(square(difference("mse_loss", prediction, target)), reduction);
}

// With c = d clamped to [-delta, delta]: c (d - c / 2) is d^2 / 2 inside, delta (|d| - delta / 2)
// outside.
Variable huber_loss(const Variable& prediction, const Variable& target, double delta,
                    Reduction reduction) {
  METTLE_CHECK(ValueError, delta > 0, "huber_loss: delta {} is not positive", delta);
  const Variable d = difference("huber_loss", prediction, target);
  const Variable c = clamp(d, -delta, delta);
  return ops::reduced(mul(c, sub(d, mul(c, 0.5))), reduction);
}

}  // namespace mettle
