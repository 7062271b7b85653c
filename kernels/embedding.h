// Embedding lookup and its adjoint. Both are linear, so these kernels serve every order: the
// gradient of the lookup is the scatter, the gradient of the scatter is the lookup.
//
// padding_id marks positions that read as zero rows and send no gradient; -1 means none. Every
// other id outside [0, table_rows) is a ValueError that names the id and its position, thrown
// before anything is written; on a CUDA device where the host next waits for it, and until then
// such an id reads as padding.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// out[i] = table[ids[i]].
struct EmbeddingForwardArgs {
  DType dtype;     // of table and out: f64, f32, bf16 or f16
  DType id_dtype;  // i64 or i32
  std::int64_t n;  // number of ids
  std::int64_t table_rows;
  std::int64_t width;  // D
  std::int64_t padding_id = -1;
  const void* table;  // [table_rows, D]
  const void* ids;    // [n]
  void* out;          // [n, D]
};

/// dtable[v] += sum of dout[i] over ids[i] = v, i ascending, in f32 (f64 for f64), rounded once.
/// Adds to what dtable holds: zero it first for the plain gradient.
struct EmbeddingBackwardArgs {
  DType dtype;
  DType id_dtype;
  std::int64_t n;
  std::int64_t table_rows;
  std::int64_t width;
  std::int64_t padding_id = -1;
  const void* dout;  // [n, D]
  const void* ids;   // [n]
  void* dtable;      // [table_rows, D]
};

/// The same gradient as the list of rows it touches: unique_ids ascending and one row for each.
struct EmbeddingSparseBackwardArgs {
  DType dtype;
  DType id_dtype;
  std::int64_t n;
  std::int64_t table_rows;
  std::int64_t width;
  std::int64_t padding_id = -1;
  const void* dout;          // [n, D]
  const void* ids;           // [n]
  std::int64_t* unique_ids;  // [n], the first *count are written
  void* rows;                // [n, D], the first *count rows are written
  std::int64_t* count;       // [1], in the device's memory like the others
};

inline Slot<EmbeddingForwardArgs> embedding_forward{"embedding_forward"};
inline Slot<EmbeddingBackwardArgs> embedding_backward{"embedding_backward"};
inline Slot<EmbeddingSparseBackwardArgs> embedding_sparse_backward{"embedding_sparse_backward"};

}  // namespace mettle::kernels
