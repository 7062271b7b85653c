// Dropout, alone and fused with the residual sum and layer normalisation that follow it.
//
//   dropout(x)_i = k_i x_i,   k_i = 1 / (1 - p) if dropout_keeps(key.bits(i), drop_threshold(p)),
//   else 0
//   s = residual + dropout(x),   y = layer_norm(s)
//
// i counts the flattened elements of x. The mask is never stored: the same key makes the same mask
// anywhere, so dropout is its own adjoint, and its backward is the forward kernel applied to dy.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "engine/random.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// Throws ValueError unless 0 <= p < 1. y may be the very memory of x.
struct DropoutArgs {
  DType dtype;
  std::int64_t n;
  double p;  // probability of dropping
  PhiloxKey key;
  const void* x;  // [n]
  void* y;        // [n]
};

/// "statistics" are f32, or f64 where dtype is f64; they are those of s as stored. Throws
/// ShapeError when columns < 1 or groups does not divide rows, ValueError unless 0 <= p < 1.
struct DropoutResidualLayerNormForwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;  // D >= 1
  std::int64_t groups;   // rows of gamma and beta; divides rows; at least 1
  double eps;
  double p;
  PhiloxKey key;
  const void* x;         // [rows, D]
  const void* residual;  // [rows, D]
  const void* gamma;     // [groups, D], null: ones
  const void* beta;      // [groups, D], null: zeros
  void* s;               // [rows, D]: saved for the backward pass, may be an output of its own
  void* y;               // [rows, D]
  void* mean;            // [rows] statistics, null: not wanted
  void* rstd;            // [rows] statistics, null: not wanted
};

/// Gradients of <dy, y> + <ds, s>. dgamma and dbeta are overwritten.
struct DropoutResidualLayerNormBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;
  double p;
  PhiloxKey key;
  const void* s;      // [rows, D], from the forward pass
  const void* gamma;  // [groups, D], null: ones
  const void* mean;   // [rows] statistics
  const void* rstd;   // [rows] statistics
  const void* dy;     // [rows, D]
  const void* ds;     // [rows, D], null: zero
  void* dx;           // [rows, D], null: not wanted
  void* dresidual;    // [rows, D], null: not wanted
  void* dgamma;       // [groups, D], null: not wanted
  void* dbeta;        // [groups, D], null: not wanted
};

/// Gradients of <ddx, dx> + <ddresidual, dresidual> + <ddgamma, dgamma> + <ddbeta, dbeta> with
/// respect to every input of the backward pass, where s, mean and rstd count as functions of x and
/// residual.
struct DropoutResidualLayerNormDoubleBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;
  double p;
  PhiloxKey key;
  const void* s;           // [rows, D]
  const void* gamma;       // [groups, D], null: ones
  const void* mean;        // [rows] statistics
  const void* rstd;        // [rows] statistics
  const void* dy;          // [rows, D]
  const void* ddx;         // [rows, D], null: zero
  const void* ddresidual;  // [rows, D], null: zero
  const void* ddgamma;     // [groups, D], null: zero
  const void* ddbeta;      // [groups, D], null: zero
  void* dx2;               // [rows, D], gradient with respect to x, null: not wanted
  void* dresidual2;        // [rows, D], gradient with respect to residual, null: not wanted
  void* dgamma2;           // [groups, D], gradient with respect to gamma, null: not wanted
  void* ddy;               // [rows, D], gradient with respect to dy, null: not wanted
  void* dds;               // [rows, D], gradient with respect to ds, null: not wanted
};

inline Slot<DropoutArgs> dropout{"dropout"};
inline Slot<DropoutResidualLayerNormForwardArgs> dropout_residual_layer_norm_forward{
    "dropout_residual_layer_norm_forward"};
inline Slot<DropoutResidualLayerNormBackwardArgs> dropout_residual_layer_norm_backward{
    "dropout_residual_layer_norm_backward"};
inline Slot<DropoutResidualLayerNormDoubleBackwardArgs> dropout_residual_layer_norm_double_backward{
    "dropout_residual_layer_norm_double_backward"};

}  // namespace mettle::kernels
