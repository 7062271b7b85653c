// Softmax cross-entropy of rows of logits against one target class each, with label smoothing.
//
//   p_rj = exp(z_rj) / sum_k exp(z_rk)        q_rj = (1 - eps) [j = target_r] + eps / C
//   loss_r = -sum_j q_rj log p_rj,            0 for the rows whose target is ignore_index
//
// Rows are dense. Losses, their differentials and statistics are f32, or f64 where dtype is f64.
// Any other target outside [0, C) is a ValueError that names its position and value, thrown before
// anything is written. Rows with an ignored target get zero losses, statistics and
// gradients, whatever they hold.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// What the three kernels have in common. Throws ShapeError when classes < 1, DTypeError, and
/// ValueError for a label smoothing outside [0, 1].
struct CrossEntropyRows {
  DType dtype;         // of the logits: f64, f32, bf16 or f16
  DType target_dtype;  // i64 or i32
  std::int64_t rows;
  std::int64_t classes;  // C >= 1
  std::int64_t ignore_index;
  double label_smoothing;      // eps
  const void* logits;          // [rows, C]
  const void* target;          // [rows]
  std::int64_t first_row = 0;  // added to the positions that errors name
};

struct CrossEntropyForwardArgs {
  CrossEntropyRows of;
  void* loss;     // [rows]
  void* highest;  // [rows] statistics: the largest logit; null: not wanted
  void* inverse;  // [rows] 1 / sum_j exp(z_rj - highest_r); null: not wanted
};

/// dz = dloss (p - q).
struct CrossEntropyBackwardArgs {
  CrossEntropyRows of;
  const void* highest;  // [rows], from the forward pass
  const void* inverse;  // [rows]
  const void* dloss;    // [rows]
  void* dlogits;        // [rows, C], may be the logits themselves
};

/// The gradients of <ddlogits, dlogits>, with t_r = sum_j ddz_rj p_rj:
///   dz2 = dloss p (ddz - t)  with respect to the logits,
///   ddloss_r = t_r - sum_j q_rj ddz_rj.
struct CrossEntropyDoubleBackwardArgs {
  CrossEntropyRows of;
  const void* highest;   // [rows], from the forward pass
  const void* inverse;   // [rows]
  const void* dloss;     // [rows]
  const void* ddlogits;  // [rows, C]
  void* dlogits2;        // [rows, C], may be ddlogits itself; null: not wanted
  void* ddloss;          // [rows], null: not wanted
};

inline Slot<CrossEntropyForwardArgs> cross_entropy_forward{"cross_entropy_forward"};
inline Slot<CrossEntropyBackwardArgs> cross_entropy_backward{"cross_entropy_backward"};
inline Slot<CrossEntropyDoubleBackwardArgs> cross_entropy_double_backward{
    "cross_entropy_double_backward"};

}  // namespace mettle::kernels
