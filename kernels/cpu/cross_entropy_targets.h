// The target classes of cross-entropy: checked once, then read as i64.
#pragma once

#include "kernels/argument_checks.h"

namespace mettle::kernels::cpu {

class CrossEntropyTargets {
 public:
  /// Throws what kernels/cross_entropy.h promises.
  explicit CrossEntropyTargets(const CrossEntropyRows& of) : of_(of) {
    check_cross_entropy(of);
    for (std::int64_t row = 0; row < of.rows; ++row) {
      const std::int64_t target = (*this)[row];
      if ((target < 0 || target >= of.classes) && target != of.ignore_index)
        throw_no_class(target, of.first_row + row, of.classes, of.ignore_index);
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
