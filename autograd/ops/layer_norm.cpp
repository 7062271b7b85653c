// Layer normalisation with shared or per-task gain and shift.
#include "kernels/layer_norm.h"

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"

namespace mettle {
namespace {

using ops::data_of;

struct LayerNorm {
  static constexpr ops::FusedNames names = {"layer_norm", "layer_norm_backward",
                                            "layer_norm_double_backward"};
  static constexpr std::size_t inputs = 3, outputs = 1;  // x, gamma, beta -> y
  static constexpr bool curved[inputs] = {true, true, false};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  std::int64_t rows, columns, groups;
  double eps;
  Saved statistics;  // (2, rows): mean, rstd

  static void* rstd(const Tensor& statistics) {
    return static_cast<std::byte*>(statistics.data()) + statistics.bytes() / 2;
  }

  void backward(Call& c) const {
    const Tensor& s = c.saved(statistics);
    kernels::layer_norm_backward(
        c.stream(),
        {c.x[0]->dtype(), rows, columns, groups, data_of(c.x[0]), data_of(c.x[1]), s.data(),
         rstd(s), data_of(c.dy[0]), data_of(c.dx[0]), data_of(c.dx[1]), data_of(c.dx[2])});
  }

  void double_backward(Call& c) const {
    const Tensor& s = c.saved(statistics);
    kernels::layer_norm_double_backward(
        c.stream(), {c.x[0]->dtype(), rows, columns, groups, data_of(c.x[0]), data_of(c.x[1]),
                     s.data(), rstd(s), data_of(c.dy[0]), data_of(c.ddx[0]), data_of(c.ddx[1]),
                     data_of(c.ddx[2]), data_of(c.dx[0]), data_of(c.dx[1]), data_of(c.ddy[0])});
  }

  Variables reference(std::span<const Variable> x) const {
    return {reference::layer_norm(x[0], x[1], x[2], eps)};
  }
};

}  // namespace

Variable reference::layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                               double eps) {
  const DType wide = ops::wide_dtype(x.dtype());
  const Variable in = cast(x, wide);
  const Variable centred = in - mean(in, {-1}, true);
  Variable y = centred * rsqrt(mean(square(centred), {-1}, true) + eps);
  if (gamma) y = y * cast(ops::grouped_weight(gamma, x.rank()), wide);
  if (beta) y = y + cast(ops::grouped_weight(beta, x.rank()), wide);
  return cast(y, x.dtype());
}

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  const std::int64_t groups = ops::norm_groups(x, gamma, beta, "layer_norm");
  const std::array in{contiguous(x), ops::dense_operand(gamma), ops::dense_operand(beta)};
  const Tensor& value = in[0].value();
  const std::int64_t columns = value.size(-1), rows = value.numel() / columns;
  Tensor y = Tensor::empty(value.shape(), value.dtype(), value.device());
  Tensor statistics;
  if (ops::Fused<LayerNorm>::records(in))
    statistics = Tensor::empty({2, rows}, ops::wide_dtype(value.dtype()), value.device());
  kernels::layer_norm_forward(current_stream(value.device()),
                              {value.dtype(), rows, columns, groups, eps, value.data(),
                               data_of(in[1]), data_of(in[2]), y.data(), data_of(statistics),
                               statistics.defined() ? LayerNorm::rstd(statistics) : nullptr});
  return ops::Fused<LayerNorm>::record({rows, columns, groups, eps, ops::keep(statistics)}, y, in);
}

}  // namespace mettle
