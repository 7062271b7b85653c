// What the kernels of primitive operations refuse, in the same words on every device.
#pragma once

#include "engine/dtype.h"
#include "kernels/elementwise.h"

namespace mettle::kernels {

inline bool is_integer(DType dtype) { return dtype == DType::i64 || dtype == DType::i32; }

/// Whether the elements are integers, i64 or i32; DTypeError when the function does not take them.
bool maps_integers(UnaryOp op, DType dtype);
bool maps_integers(BinaryOp op, DType dtype);

/// DTypeError unless scatter_add takes the dtype.
void check_scatter_add(const char* operation, DType dtype);
/// DTypeError unless these are dtypes of a table and of ids.
void check_embedding(DType dtype, DType id_dtype);

// ValueErrors. On a CUDA device they are found while the work is done, and thrown where the host
// waits for it.
[[noreturn]] void throw_division_by_zero(std::int64_t element);
[[noreturn]] void throw_index_outside(const char* operation, std::int64_t index,
                                      std::int64_t position, std::int64_t size);
[[noreturn]] void throw_id_outside(std::int64_t id, std::int64_t position, std::int64_t table_rows);

}  // namespace mettle::kernels
