// The errors of primitive operations.
#include "kernels/primitive_checks.h"

#include "engine/check.h"

namespace mettle::kernels {
namespace {

void require(bool takes_integers, DType dtype) {
  METTLE_CHECK(DTypeError, takes_integers,
               "this function takes floating dtypes, got {}; convert with cast()",
               to_string(dtype));
}

}  // namespace

bool maps_integers(UnaryOp op, DType dtype) {
  if (!is_integer(dtype)) return false;
  require(op == UnaryOp::affine || op == UnaryOp::abs || op == UnaryOp::sign, dtype);
  return true;
}

bool maps_integers(BinaryOp op, DType dtype) {
  if (!is_integer(dtype)) return false;
  require(op <= BinaryOp::minimum, dtype);
  return true;
}

void check_scatter_add(const char* operation, DType dtype) {
  METTLE_CHECK(DTypeError, is_integer(dtype) || dtype == DType::f64 || dtype == DType::f32,
               "{}: takes f64, f32, i64 or i32, got {}; convert with cast()", operation,
               to_string(dtype));
}

void check_embedding(DType dtype, DType id_dtype) {
  METTLE_CHECK(DTypeError, is_floating(dtype),
               "embedding: the table is f64, f32, bf16 or f16, got {}", to_string(dtype));
  METTLE_CHECK(DTypeError, is_integer(id_dtype),
               "embedding: ids are i64 or i32, got {}; convert with cast()", to_string(id_dtype));
}

void throw_division_by_zero(std::int64_t element) {
  fail<ValueError>("div: integer division by zero at element {}", element);
}

void throw_index_outside(const char* operation, std::int64_t index, std::int64_t position,
                         std::int64_t size) {
  fail<ValueError>("{}: index {} at position {} of its axis is outside an axis of {} elements",
                   operation, index, position, size);
}

void throw_id_outside(std::int64_t id, std::int64_t position, std::int64_t table_rows) {
  fail<ValueError>("embedding: id {} at position {} is outside a table of {} rows", id, position,
                   table_rows);
}

}  // namespace mettle::kernels
