// Small dense linear algebra on batches of matrices: triangles, Cholesky factors, substitution.
#pragma once

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

enum class Triangle : std::uint8_t { lower, upper };

/// y = x where column - row <= diagonal (lower) or >= diagonal (upper), zero elsewhere; dense
/// row-major matrices, any dtype.
struct TriangleArgs {
  DType dtype;
  Triangle triangle;
  std::int64_t diagonal;
  std::int64_t batch, rows, columns;
  const void* x;
  void* y;
};

inline Slot<TriangleArgs> triangle{"triangle"};

/// L L^T = (A + A^T) / 2 with a lower triangular L, for `batch` dense row-major n x n matrices.
/// failed[b] is -1, or the first pivot of matrix b that is not positive (or NaN); then l[b] holds
/// that pivot on its diagonal and is not a factor. On the CPU the caller looks at failed; on
/// another device the next synchronisation throws the ValueError. Golub and Van Loan, "Matrix
/// computations", 4.2.
struct CholeskyArgs {
  DType dtype;  // f64 f32
  std::int64_t batch, n;
  const void* a;
  void* l;
  std::int64_t* failed;  // [batch], in the device's memory
};

inline Slot<CholeskyArgs> cholesky{"cholesky"};

/// X[b] = T[b]^-1 B[b] for every index b of `batch`; T (n, n) triangular, B and X (n, columns), X
/// dense row-major. Strides in elements, 0 shares a matrix. Only the named triangle of T is read.
/// A zero on T's diagonal is a ValueError, thrown before anything is written; on another device
/// than the CPU by the next synchronisation.
struct TriangularSolveArgs {
  DType dtype;  // f64 f32
  Triangle triangle;
  std::int64_t n, columns;
  const void* t;
  const void* b;
  void* x;
  std::int64_t t_row, t_column;
  std::int64_t b_row, b_column;
  Shape batch;
  Strides t_batch, b_batch;
};

inline Slot<TriangularSolveArgs> triangular_solve{"triangular_solve"};

}  // namespace mettle::kernels
