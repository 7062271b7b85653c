// The target classes of cross-entropy: checked once, then read as i64.
#pragma once

#include "engine/check.h"
#include "kernels/cross_entropy.h"

namespace mettle::kernels::cpu {

class CrossEntropyTargets {
 public:
  /// Throws what kernels/cross_entropy.h promises.
  explicit CrossEntropyTargets(const CrossEntropyRows& of) : of_(of) {
    METTLE_CHECK(DTypeError, is_floating(of.dtype), "cross_entropy: logits are floating, got {}",
                 to_string(of.dtype));
    METTLE_CHECK(DTypeError, of.target_dtype == DType::i64 || of.target_dtype == DType::i32,
                 "cross_entropy: targets are i64 or i32, got {}; convert with cast()",
                 to_string(of.target_dtype));
    METTLE_CHECK(ShapeError, of.classes >= 1, "cross_entropy: logits of {} classes", of.classes);
    METTLE_CHECK(ValueError, of.label_smoothing >= 0 && of.label_smoothing <= 1,
                 "cross_entropy: label smoothing is {}, outside [0, 1]", of.label_smoothing);
    for (std::int64_t row = 0; row < of.rows; ++row) {
      const std::int64_t target = (*this)[row];
      METTLE_CHECK(ValueError, (target >= 0 && target < of.classes) || target == of.ignore_index,
                   "cross_entropy: target {} at position {} is outside the {} classes and is not "
                   "ignore_index {}",
                   target, of.first_row + row, of.classes, of.ignore_index);
    }
  }

  std::int64_t operator[](std::int64_t row) const {
    return of_.target_dtype == DType::i64 ? static_cast<const std::int64_t*>(of_.target)[row]
                                          : static_cast<const std::int32_t*>(of_.target)[row];
  }
  bool ignored(std::int64_t row) const { return (*this)[row] == of_.ignore_index; }

 private:
  const CrossEntropyRows& of_;
};

}  // namespace mettle::kernels::cpu
