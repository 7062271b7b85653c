// Binary cross-entropy of logits against targets in [0, 1].
#include "kernels/bce_with_logits.h"

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"

namespace mettle {
namespace {

using ops::data_of;

struct BceWithLogits {
  static constexpr ops::FusedNames names = {"bce_with_logits", "bce_with_logits_backward",
                                            "bce_with_logits_double_backward"};
  static constexpr std::size_t inputs = 3, outputs = 1;  // logits, target, weight -> loss
  static constexpr bool curved[inputs] = {true, true, false};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  Reduction reduction;
  double pos_weight;

  void backward(Call& c) const {
    const Tensor& x = *c.x[0];
    kernels::bce_with_logits_backward(
        c.stream(), {x.dtype(), reduction, x.numel(), pos_weight, x.data(), data_of(c.x[1]),
                     data_of(c.x[2]), data_of(c.dy[0]), data_of(c.dx[0]), data_of(c.dx[1])});
  }
  void double_backward(Call& c) const {
    const Tensor& x = *c.x[0];
    kernels::bce_with_logits_double_backward(
        c.stream(), {x.dtype(), reduction, x.numel(), pos_weight, x.data(), data_of(c.x[1]),
                     data_of(c.x[2]), data_of(c.dy[0]), data_of(c.ddx[0]), data_of(c.ddx[1]),
                     data_of(c.dx[0]), data_of(c.dx[1]), data_of(c.ddy[0])});
  }
  Variables reference(std::span<const Variable> x) const {
    return {reference::bce_with_logits(x[0], x[1], {x[2], pos_weight, reduction})};
  }
};

void check_operands(const Variable& logits, const Variable& target, const BceOptions& options) {
  constexpr const char* name = "bce_with_logits";
  ops::check_floating(logits.value(), name);
  ops::check_same(logits.value(), target.value(), name);
  METTLE_CHECK(ShapeError, logits.shape() == target.shape(),
               "bce_with_logits: logits {} and target {} differ; reshape() or expand() one of them",
               to_string(logits.shape()), to_string(target.shape()));
  if (!options.weight) return;
  ops::check_same(logits.value(), options.weight.value(), name);
  ops::check_constant(options.weight, name, "weight",
                      "multiply the losses of Reduction::none by it, or detach() it");
  METTLE_CHECK(ShapeError,
               broadcast_shapes(options.weight.shape(), logits.shape(), name) == logits.shape(),
               "bce_with_logits: weight {} does not broadcast to logits {}",
               to_string(options.weight.shape()), to_string(logits.shape()));
}

}  // namespace

Variable reference::bce_with_logits(const Variable& logits, const Variable& target,
                                    const BceOptions& options) {
  const DType wide = ops::wide_dtype(logits.dtype());
  const Variable x = cast(logits, wide), t = cast(target, wide);
  Variable loss = sub(1.0, t) * x + affine(t, options.pos_weight - 1.0, 1.0) * softplus(-x);
  if (options.weight) loss = loss * cast(options.weight, wide);
  return ops::reduced(loss, options.reduction);
}

Variable bce_with_logits(const Variable& logits, const Variable& target,
                         const BceOptions& options) {
  check_operands(logits, target, options);
  const Variable& weight = options.weight;
  const std::array in{contiguous(logits), contiguous(target),
                      weight ? contiguous(expand(weight, logits.shape())) : weight};
  const Tensor& x = in[0].value();
  const bool each = options.reduction == Reduction::none;
  Tensor loss = Tensor::empty(each ? x.shape() : Shape{}, ops::wide_dtype(x.dtype()), x.device());
  kernels::bce_with_logits_forward(
      current_stream(x.device()), {x.dtype(), options.reduction, x.numel(), options.pos_weight,
                                   x.data(), data_of(in[1]), data_of(in[2]), loss.data(), nullptr});
  return ops::Fused<BceWithLogits>::record({options.reduction, options.pos_weight}, loss, in);
}

}  // namespace mettle
