// GELU of x + bias, with a shared or per-task bias, of x alone, and of a linear layer.
#include "kernels/bias_gelu.h"

#include <cmath>
#include <numbers>

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"
#include "autograd/ops/linear.h"

namespace mettle {
namespace {

using ops::data_of;

struct BiasGelu {
  static constexpr ops::FusedNames names = {"bias_gelu", "bias_gelu_backward",
                                            "bias_gelu_double_backward"};
  static constexpr std::size_t inputs = 2, outputs = 1;  // x, bias -> y
  static constexpr bool curved[inputs] = {true, true};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  GeluForm form;
  std::int64_t rows, columns, groups;
  // x holds x + bias: the linear layer before it added it. Its gradient is still counted here,
  // where the kernels have its sum for nothing.
  bool bias_is_in_x = false;

  const void* bias(const Call& c) const { return bias_is_in_x ? nullptr : data_of(c.x[1]); }
  void backward(Call& c) const {
    kernels::bias_gelu_backward(
        c.stream(), {c.x[0]->dtype(), form, rows, columns, groups, data_of(c.x[0]), bias(c),
                     data_of(c.dy[0]), data_of(c.dx[0]), data_of(c.dx[1])});
  }
  void double_backward(Call& c) const {
    kernels::bias_gelu_double_backward(
        c.stream(), {c.x[0]->dtype(), form, rows, columns, groups, data_of(c.x[0]), bias(c),
                     data_of(c.dy[0]), data_of(c.ddx[0]), data_of(c.ddx[1]), data_of(c.dx[0]),
                     data_of(c.dx[1]), data_of(c.ddy[0])});
  }
  Variables reference(std::span<const Variable> x) const {
    // Of a bias that is in x already, 0 with the slope of the bias is left to add.
    const bool nothing_to_add = bias_is_in_x && x[1];
    return {reference::bias_gelu(x[0], nothing_to_add ? x[1] - x[1].detach() : x[1], form)};
  }
};

}  // namespace

Variable reference::bias_gelu(const Variable& x, const Variable& bias, GeluForm form) {
  const DType wide = ops::wide_dtype(x.dtype());
  Variable z = cast(x, wide);
  if (bias) z = z + cast(ops::grouped_weight(bias, x.rank()), wide);
  const Variable sign =
      form == GeluForm::erf
          ? erf(z * (1.0 / std::numbers::sqrt2))
          : tanh(std::sqrt(2.0 / std::numbers::pi) * (z + 0.044715 * (z * z * z)));
  return cast(z * affine(sign, 0.5, 0.5), x.dtype());
}

Variable bias_gelu(const Variable& x, const Variable& bias, GeluForm form) {
  ops::check_floating(x.value(), "bias_gelu");
  METTLE_CHECK(ShapeError, !bias || x.rank() >= 1,
               "bias_gelu: x of shape {} has no last axis to add the bias along",
               to_string(x.shape()));
  const std::int64_t groups = ops::weight_groups(x, bias, "bias_gelu", "bias");
  const std::array in{contiguous(x), ops::dense_operand(bias)};
  const Tensor& value = in[0].value();
  // Without a bias the shape does not matter.
  const std::int64_t columns = bias ? value.size(-1) : value.numel();
  const std::int64_t rows = columns > 0 ? value.numel() / columns : 0;
  Tensor y = Tensor::empty(value.shape(), value.dtype(), value.device());
  kernels::bias_gelu_forward(
      current_stream(value.device()),
      {value.dtype(), form, rows, columns, groups, value.data(), data_of(in[1]), y.data()});
  return ops::Fused<BiasGelu>::record({form, rows, columns, groups}, y, in);
}

Variable linear_gelu(const Variable& x, const Variable& weight, const Variable& bias,
                     GeluForm form) {
  const ops::Linear in = ops::linear_operands(x, weight, bias, "linear_gelu");
  const std::array operands{&in.x, &in.weight, &in.bias};
  if (!detail::must_record(operands)) return reshape(Variable(ops::linear_values(in, form)), in.y);
  Shape shape = in.x.shape();
  shape[shape.rank() - 1] = in.weight.size(-1);
  const Tensor z = Tensor::empty(shape, x.dtype(), x.device());
  const Tensor y = ops::linear_values(in, form, z);
  const std::int64_t columns = shape.at(-1), rows = columns > 0 ? z.numel() / columns : 0;
  const std::int64_t groups = in.bias && in.bias.rank() == 2 ? in.bias.size(0) : 1;
  const std::array sum{ops::record_product(z, in.x, in.weight), in.bias};
  return reshape(ops::Fused<BiasGelu>::record({form, rows, columns, groups, true}, y, sum), in.y);
}

Variable gelu(const Variable& x, GeluForm form) { return bias_gelu(x, Variable(), form); }

}  // namespace mettle
