// Logic on bool, and what is asked of whole axes. All of it is outside differentiation.
#include "autograd/ops/support.h"

namespace mettle {
namespace {

void check_bool(const Variable& x, const char* operation) {
  METTLE_CHECK(DTypeError, x.dtype() == DType::boolean,
               "{}: takes bool, got {}; make one with a comparison such as not_equal()", operation,
               describe(x.value()));
}

Variable truth(bool value, const Variable& like) {
  return full({}, value ? 1.0 : 0.0, DType::boolean, like.device());
}

/// How many elements are true over the axes.
Variable count(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  return sum(cast(x, DType::i64), axes, keep_axes);
}

Variable zero_count(const Variable& x) { return full({}, 0.0, DType::i64, x.device()); }

}  // namespace

Variable logical_not(const Variable& x) {
  check_bool(x, "logical_not");
  return equal(x, truth(false, x));
}

Variable logical_and(const Variable& a, const Variable& b) {
  check_bool(a, "logical_and");
  check_bool(b, "logical_and");
  return where(a, b, truth(false, b));
}

Variable logical_or(const Variable& a, const Variable& b) {
  check_bool(a, "logical_or");
  check_bool(b, "logical_or");
  return where(a, truth(true, b), b);
}

Variable any(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  check_bool(x, "any");
  return not_equal(count(x, axes, keep_axes), zero_count(x));
}

Variable all(const Variable& x, std::initializer_list<int> axes, bool keep_axes) {
  check_bool(x, "all");
  return equal(count(logical_not(x), axes, keep_axes), zero_count(x));
}

}  // namespace mettle
