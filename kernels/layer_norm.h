// Layer normalisation over the last axis, with optional per-task gain and shift.
//
//   mean_r = 1/D sum_j x_rj      rstd_r = 1 / sqrt(1/D sum_j (x_rj - mean_r)^2 + eps)
//   xhat   = (x - mean) rstd     y = gamma xhat + beta
//
// Columns are contiguous. The rows are split into `groups` equal consecutive groups (tasks); group
// g uses row g of gamma and beta; weights shared by all rows are one group. "statistics" below are
// f32, or f64 where dtype is f64. Outputs overlap no input.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// Throws ShapeError when columns < 1 or groups does not divide rows, DTypeError for integers.
struct LayerNormForwardArgs {
  DType dtype;           // of x, gamma, beta, y: f64, f32, bf16 or f16
  std::int64_t rows;     // may be 0
  std::int64_t columns;  // D >= 1
  std::int64_t groups;   // rows of gamma and beta; divides rows; at least 1
  double eps;
  const void* x;      // [rows, D]
  const void* gamma;  // [groups, D], null: ones
  const void* beta;   // [groups, D], null: zeros
  void* y;            // [rows, D]
  void* mean;         // [rows] statistics, null: not wanted
  void* rstd;         // [rows] statistics, null: not wanted
};

/// Gradients of <dy, y>. dgamma and dbeta are overwritten, with zeros when there are no rows.
struct LayerNormBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;  // rows of gamma, dgamma, dbeta; divides rows; at least 1
  const void* x;        // [rows, D]
  const void* gamma;    // [groups, D], null: ones
  const void* mean;     // [rows] statistics, from the forward pass
  const void* rstd;     // [rows] statistics
  const void* dy;       // [rows, D]
  void* dx;             // [rows, D], null: not wanted
  void* dgamma;         // [groups, D], null: not wanted
  void* dbeta;          // [groups, D], null: not wanted
};

/// Gradients of <ddx, dx> + <ddgamma, dgamma> + <ddbeta, dbeta> with respect to x, gamma and dy
/// (the derivation stands above the CPU kernel). mean and rstd count as functions of x. The
/// gradient with respect to beta is zero.
struct LayerNormDoubleBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;
  const void* x;        // [rows, D]
  const void* gamma;    // [groups, D], null: ones
  const void* mean;     // [rows] statistics
  const void* rstd;     // [rows] statistics
  const void* dy;       // [rows, D]
  const void* ddx;      // [rows, D], null: zero
  const void* ddgamma;  // [groups, D], null: zero
  const void* ddbeta;   // [groups, D], null: zero
  void* dx2;            // [rows, D], gradient with respect to x, null: not wanted
  void* dgamma2;        // [groups, D], gradient with respect to gamma, null: not wanted
  void* ddy;            // [rows, D], gradient with respect to dy, null: not wanted
};

inline Slot<LayerNormForwardArgs> layer_norm_forward{"layer_norm_forward"};
inline Slot<LayerNormBackwardArgs> layer_norm_backward{"layer_norm_backward"};
inline Slot<LayerNormDoubleBackwardArgs> layer_norm_double_backward{"layer_norm_double_backward"};

}  // namespace mettle::kernels
