// Softmax cross-entropy of logits against target classes. The kernels make one loss for each row;
// sums and means of them are composites.
#include "kernels/cross_entropy.h"

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/cross_entropy_support.h"

namespace mettle {
namespace {

using ops::data_of;

struct CrossEntropy {
  static constexpr ops::FusedNames names = {"cross_entropy", "cross_entropy_backward",
                                            "cross_entropy_double_backward"};
  static constexpr std::size_t inputs = 2, outputs = 1;  // logits, target -> losses
  static constexpr bool curved[inputs] = {true, false};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  CrossEntropyOptions options;
  Saved statistics;  // (2, rows): highest, inverse

  void backward(Call& c) const {
    const ops::RowStatistics s(c.saved(statistics));
    kernels::cross_entropy_backward(
        c.stream(), {ops::cross_entropy_rows(*c.x[0], *c.x[1], options), s.highest(), s.inverse(),
                     data_of(c.dy[0]), data_of(c.dx[0])});
  }
  void double_backward(Call& c) const {
    const ops::RowStatistics s(c.saved(statistics));
    kernels::cross_entropy_double_backward(
        c.stream(), {ops::cross_entropy_rows(*c.x[0], *c.x[1], options), s.highest(), s.inverse(),
                     data_of(c.dy[0]), data_of(c.ddx[0]), data_of(c.dx[0]), data_of(c.ddy[0])});
  }
  Variables reference(std::span<const Variable> x) const {
    return {ops::reference_losses(x[0], x[1], options)};
  }
};

/// The classes that are the target of each row: bool (..., C).
Variable is_target(const Variable& target, std::int64_t classes) {
  return equal(unsqueeze(cast(target, DType::i64), -1), arange(classes, target.device()));
}

Variable is_counted(const Variable& target, const CrossEntropyOptions& options) {
  const Variable ignored =
      full({}, static_cast<double>(options.ignore_index), DType::i64, target.device());
  return not_equal(cast(target, DType::i64), ignored);
}

}  // namespace

void ops::check_class_targets(const Variable& target, const Variable& x,
                              const CrossEntropyOptions& options, const char* operation) {
  METTLE_CHECK(DTypeError, target.dtype() == DType::i64 || target.dtype() == DType::i32,
               "{}: targets are i64 or i32, got {}; convert with cast()", operation,
               describe(target.value()));
  METTLE_CHECK(DeviceError, target.device() == x.device(), "{}: {} and {} are on two devices",
               operation, describe(target.value()), describe(x.value()));
  METTLE_CHECK(ShapeError, Shape(x.shape().span().first(x.shape().size() - 1)) == target.shape(),
               "{}: target {} does not fit {}; it has one class for each index of all axes but the "
               "last",
               operation, to_string(target.shape()), to_string(x.shape()));
  METTLE_CHECK(ValueError, std::abs(static_cast<double>(options.ignore_index)) <= 0x1p53,
               "{}: ignore_index is {}, beyond 2^53", operation, options.ignore_index);
  METTLE_CHECK(ValueError, options.label_smoothing >= 0 && options.label_smoothing <= 1,
               "{}: label_smoothing is {}, outside [0, 1]", operation, options.label_smoothing);
}

Variable ops::reference_losses(const Variable& logits, const Variable& target,
                               const CrossEntropyOptions& options) {
  const Variable z = cast(logits, wide_dtype(logits.dtype()));
  const Variable zero = full({}, 0.0, z.dtype(), z.device());
  // The largest logit of a row is subtracted as a constant: its own derivative cancels.
  const Variable below = z - max(z, -1, true).detach();
  const Variable log_sum = log(sum(exp(below), {-1}));
  // Chosen, not multiplied by 0 and 1: an excluded class is -inf.
  const Variable chosen = sum(where(is_target(target, z.size(-1)), below, zero), {-1});
  Variable losses = log_sum - (1.0 - options.label_smoothing) * chosen;
  if (options.label_smoothing > 0) losses = losses - options.label_smoothing * mean(below, {-1});
  return where(is_counted(target, options), losses, zero);
}

Variable ops::reduced_losses(const Variable& losses, const Variable& target,
                             const CrossEntropyOptions& options) {
  switch (options.reduction) {
    case Reduction::none: return losses;
    case Reduction::sum: return sum(losses);
    case Reduction::mean: break;
  }
  const Variable counted = sum(cast(is_counted(target, options), DType::i64));
  return sum(losses) / cast(counted, losses.dtype());
}

Variable reference::cross_entropy(const Variable& logits, const Variable& target,
                                  const CrossEntropyOptions& options) {
  return ops::reduced_losses(ops::reference_losses(logits, target, options), target, options);
}

Variable cross_entropy(const Variable& logits, const Variable& target,
                       const CrossEntropyOptions& options) {
  constexpr const char* name = "cross_entropy";
  ops::check_floating(logits.value(), name);
  METTLE_CHECK(ShapeError, logits.rank() >= 1 && logits.size(-1) >= 1,
               "{}: logits {} have no classes; they are (..., C)", name, to_string(logits.shape()));
  ops::check_class_targets(target, logits, options, name);
  const std::array in{contiguous(logits), contiguous(target)};
  const Tensor& z = in[0].value();
  const DType wide = ops::wide_dtype(z.dtype());
  Tensor losses = Tensor::empty(target.shape(), wide, z.device());
  Tensor statistics;
  if (ops::Fused<CrossEntropy>::records(in))
    statistics = Tensor::empty({2, target.numel()}, wide, z.device());
  const ops::RowStatistics s(statistics);
  kernels::cross_entropy_forward(current_stream(z.device()),
                                 {ops::cross_entropy_rows(z, in[1].value(), options), losses.data(),
                                  s.highest(), s.inverse()});
  return ops::reduced_losses(
      ops::Fused<CrossEntropy>::record({options, ops::keep(statistics)}, losses, in), target,
      options);
}

}  // namespace mettle
