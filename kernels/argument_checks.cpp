// The errors that the kernels of every device share.
#include "kernels/argument_checks.h"

#include "engine/check.h"

namespace mettle::kernels {

void check_groups(const char* operation, std::int64_t rows, std::int64_t groups) {
  METTLE_CHECK(
      ShapeError, groups >= 1 && rows >= 0 && rows % groups == 0,
      "{}: {} rows cannot be split into {} equal groups; the leading (task) dimension of the "
      "weights must divide the rows",
      operation, rows, groups);
}

void check_normalised(const char* operation, std::int64_t rows, std::int64_t columns,
                      std::int64_t groups) {
  METTLE_CHECK(ShapeError, columns >= 1,
               "{}: the normalised axis has {} columns; it needs at least 1", operation, columns);
  check_groups(operation, rows, groups);
}

void check_drop_probability(double p) {
  METTLE_CHECK(ValueError, p >= 0 && p < 1, "dropout: p = {} is outside [0, 1)", p);
}

void check_cross_entropy(const CrossEntropyRows& of) {
  METTLE_CHECK(DTypeError, is_floating(of.dtype), "cross_entropy: logits are floating, got {}",
               to_string(of.dtype));
  METTLE_CHECK(DTypeError, of.target_dtype == DType::i64 || of.target_dtype == DType::i32,
               "cross_entropy: targets are i64 or i32, got {}; convert with cast()",
               to_string(of.target_dtype));
  METTLE_CHECK(ShapeError, of.classes >= 1, "cross_entropy: logits of {} classes", of.classes);
  METTLE_CHECK(ValueError, of.label_smoothing >= 0 && of.label_smoothing <= 1,
               "cross_entropy: label smoothing is {}, outside [0, 1]", of.label_smoothing);
}

void throw_no_class(std::int64_t target, std::int64_t position, std::int64_t classes,
                    std::int64_t ignore_index) {
  fail<ValueError>(
      "cross_entropy: target {} at position {} is outside the {} classes and is not ignore_index "
      "{}",
      target, position, classes, ignore_index);
}

}  // namespace mettle::kernels
