// What cross-entropy of logits and of a linear layer's output share.
#pragma once

#include "autograd/fused.h"
#include "autograd/ops/fused_support.h"
#include "kernels/cross_entropy.h"

namespace mettle::ops {

/// The two statistics of the rows from `first` on, in one tensor (2, rows); null where undefined.
class RowStatistics {
 public:
  explicit RowStatistics(const Tensor& statistics, std::int64_t first = 0)
      : statistics_(statistics), first_(first) {}
  void* highest() const { return at(0); }
  void* inverse() const { return at(1); }

 private:
  void* at(std::int64_t which) const {
    if (!statistics_.defined()) return nullptr;
    const std::int64_t element = which * statistics_.size(1) + first_;
    return static_cast<std::byte*>(statistics_.data()) +
           static_cast<std::size_t>(element) * size_of(statistics_.dtype());
  }
  const Tensor& statistics_;
  std::int64_t first_;
};

/// Logits (..., C) and their targets as the kernels take them; both dense.
inline kernels::CrossEntropyRows cross_entropy_rows(const Tensor& logits, const Tensor& target,
                                                    const CrossEntropyOptions& options,
                                                    std::int64_t first_row = 0) {
  return {logits.dtype(),  target.dtype(),       target.numel(),
          logits.size(-1), options.ignore_index, options.label_smoothing,
          logits.data(),   target.data(),        first_row};
}

/// Throws unless `target` holds classes, one for each row of x (..., D): DTypeError, DeviceError,
/// ShapeError; ValueError for a label smoothing outside of [0, 1].
void check_class_targets(const Variable& target, const Variable& x,
                         const CrossEntropyOptions& options, const char* operation);

/// One loss for each row, by public operations.
Variable reference_losses(const Variable& logits, const Variable& target,
                          const CrossEntropyOptions& options);

/// The reduction of the losses; the mean is over the rows that are not ignored.
Variable reduced_losses(const Variable& losses, const Variable& target,
                        const CrossEntropyOptions& options);

}  // namespace mettle::ops
