// Dropout, residual sum and layer normalisation in one pass, with both the sum and its norm as
// results.
#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"
#include "kernels/dropout.h"

namespace mettle {
namespace {

using ops::data_of;

struct DropoutResidualLayerNorm {
  static constexpr ops::FusedNames names = {"dropout_residual_layer_norm",
                                            "dropout_residual_layer_norm_backward",
                                            "dropout_residual_layer_norm_double_backward"};
  static constexpr std::size_t inputs = 4, outputs = 2;  // x, residual, gamma, beta -> y, s
  static constexpr bool curved[inputs] = {true, true, true, false};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  std::int64_t rows, columns, groups;
  double eps, p;
  RandomKey key;
  Saved sum, statistics;  // s; (2, rows): mean, rstd

  static PhiloxKey key_for(const RandomKey& key, const Tensor& x) {
    return key.on(x.device(), names.forward);
  }
  static void* rstd(const Tensor& statistics) {
    return static_cast<std::byte*>(statistics.data()) + statistics.bytes() / 2;
  }
  /// The cotangent of y; the kernels take no null there.
  static Tensor dy_of(const Call& c) {
    const Tensor& x = *c.x[0];
    return c.dy[0] ? *c.dy[0] : ops::filled(x.shape(), 0.0, x.dtype(), x.device());
  }

  void backward(Call& c) const {
    const Tensor& st = c.saved(statistics);
    const Tensor dy = dy_of(c);
    kernels::dropout_residual_layer_norm_backward(
        c.stream(), {dy.dtype(), rows, columns, groups, p, key_for(key, dy), c.saved(sum).data(),
                     data_of(c.x[2]), st.data(), rstd(st), dy.data(), data_of(c.dy[1]),
                     data_of(c.dx[0]), data_of(c.dx[1]), data_of(c.dx[2]), data_of(c.dx[3])});
  }
  void double_backward(Call& c) const {
    const Tensor& st = c.saved(statistics);
    const Tensor dy = dy_of(c);
    kernels::dropout_residual_layer_norm_double_backward(c.stream(), {dy.dtype(),
                                                                      rows,
                                                                      columns,
                                                                      groups,
                                                                      p,
                                                                      key_for(key, dy),
                                                                      c.saved(sum).data(),
                                                                      data_of(c.x[2]),
                                                                      st.data(),
                                                                      rstd(st),
                                                                      dy.data(),
                                                                      data_of(c.ddx[0]),
                                                                      data_of(c.ddx[1]),
                                                                      data_of(c.ddx[2]),
                                                                      data_of(c.ddx[3]),
                                                                      data_of(c.dx[0]),
                                                                      data_of(c.dx[1]),
                                                                      data_of(c.dx[2]),
                                                                      data_of(c.ddy[0]),
                                                                      data_of(c.ddy[1])});
  }
  Variables reference(std::span<const Variable> x) const {
    const ResidualNorm r =
        reference::dropout_residual_layer_norm(x[0], x[1], x[2], x[3], p, key, eps);
    return {r.normalized, r.sum};
  }
};

}  // namespace

ResidualNorm reference::dropout_residual_layer_norm(const Variable& x, const Variable& residual,
                                                    const Variable& gamma, const Variable& beta,
                                                    double p, const RandomKey& key, double eps) {
  const DType wide = ops::wide_dtype(x.dtype());
  const Variable sum = cast(cast(residual, wide) + dropout(cast(x, wide), p, key), x.dtype());
  return {reference::layer_norm(sum, gamma, beta, eps), sum};
}

ResidualNorm dropout_residual_layer_norm(const Variable& x, const Variable& residual,
                                         const Variable& gamma, const Variable& beta, double p,
                                         const RandomKey& key, double eps) {
  constexpr const char* name = "dropout_residual_layer_norm";
  ops::check_same(x.value(), residual.value(), name);
  METTLE_CHECK(ShapeError, x.shape() == residual.shape(),
               "{}: x {} and residual {} differ; expand() one of them", name, to_string(x.shape()),
               to_string(residual.shape()));
  METTLE_CHECK(ValueError, 0.0 <= p && p < 1.0, "{}: the probability {} is outside [0, 1)", name,
               p);
  const std::int64_t groups = ops::norm_groups(x, gamma, beta, name);
  const std::array in{contiguous(x), contiguous(residual), ops::dense_operand(gamma),
                      ops::dense_operand(beta)};
  const Tensor& t = in[0].value();
  const std::int64_t columns = t.size(-1), rows = t.numel() / columns;
  const std::array out{ops::empty_like(t), ops::empty_like(t)};
  const bool records = ops::Fused<DropoutResidualLayerNorm>::records(in);
  const Tensor statistics =
      records ? Tensor::empty({2, rows}, ops::wide_dtype(t.dtype()), t.device()) : Tensor();
  kernels::dropout_residual_layer_norm_forward(
      current_stream(t.device()),
      {t.dtype(), rows, columns, groups, eps, p, DropoutResidualLayerNorm::key_for(key, t),
       t.data(), data_of(in[1]), data_of(in[2]), data_of(in[3]), out[1].data(), out[0].data(),
       data_of(statistics), records ? DropoutResidualLayerNorm::rstd(statistics) : nullptr});
  const Variables results = ops::Fused<DropoutResidualLayerNorm>::record(
      {rows, columns, groups, eps, p, key, ops::keep(records ? out[1] : Tensor()),
       ops::keep(statistics)},
      out, in);
  return {results[0], results[1]};
}

}  // namespace mettle
