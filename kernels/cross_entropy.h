// Softmax cross-entropy against integer targets: of given logits, and of logits = h W' + bias that
// are made in chunks and never held as a whole (a catalogue of 10^5 items costs no N x C matrix).
//
//   lse_i = log sum_c exp(z_ic)
//   loss_i = lse_i - sum_c q_ic z_ic,   q_ic = (1 - smoothing) [c = target_i] + smoothing / C
//
// Rows whose target is ignore_index have loss 0 and gradient 0. Any other target outside [0, C) is
// a ValueError that names the row and the target, thrown before anything is written. Losses,
// their differentials and lse are f32, or f64 where dtype is f64. lse is a function of the inputs.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

struct SoftmaxCrossEntropyForwardArgs {
  DType dtype;  // of logits and their differentials
  std::int64_t rows;
  std::int64_t classes;  // C >= 1
  std::int64_t ignore_index = -100;
  double smoothing = 0;         // label smoothing, in [0, 1]
  const void* logits;           // [rows, C]
  const std::int64_t* targets;  // [rows]
  void* loss;                   // [rows]
  void* lse;                    // [rows], null: not wanted
};

/// Gradient of <dloss, loss>. dlogits may be the memory of logits.
struct SoftmaxCrossEntropyBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t ignore_index = -100;
  double smoothing = 0;
  const void* logits;           // [rows, C]
  const std::int64_t* targets;  // [rows]
  const void* lse;              // [rows], from the forward pass
  const void* dloss;            // [rows]
  void* dlogits;                // [rows, C]
};

/// Gradients of <ddlogits, dlogits> with respect to logits and dloss:
/// ddloss_i = sum_c ddz_ic (p_ic - q_ic),  dz2_ic = dloss_i p_ic (ddz_ic - sum_k p_ik ddz_ik).
struct SoftmaxCrossEntropyDoubleBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t ignore_index = -100;
  double smoothing = 0;
  const void* logits;           // [rows, C]
  const std::int64_t* targets;  // [rows]
  const void* lse;              // [rows]
  const void* dloss;            // [rows]
  const void* ddlogits;         // [rows, C]
  void* dlogits2;               // [rows, C], gradient with respect to logits, null: not wanted
  void* ddloss;                 // [rows], gradient with respect to dloss, null: not wanted
};

/// z = h W' + bias, never stored.
struct LinearCrossEntropyForwardArgs {
  DType dtype;  // of h, W, bias and their differentials
  std::int64_t rows;
  std::int64_t classes;  // C >= 1
  std::int64_t width;    // D
  std::int64_t ignore_index = -100;
  double smoothing = 0;
  const void* h;                // [rows, D]
  const void* weight;           // [C, D]
  const void* bias;             // [C], null: zeros
  const std::int64_t* targets;  // [rows]
  void* loss;                   // [rows]
  void* lse;                    // [rows], null: not wanted
};

/// Gradients of <dloss, loss>; dh, dweight and dbias are overwritten.
struct LinearCrossEntropyBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t width;
  std::int64_t ignore_index = -100;
  double smoothing = 0;
  const void* h;                // [rows, D]
  const void* weight;           // [C, D]
  const void* bias;             // [C], null: zeros
  const std::int64_t* targets;  // [rows]
  const void* lse;              // [rows], from the forward pass
  const void* dloss;            // [rows]
  void* dh;                     // [rows, D], null: not wanted
  void* dweight;                // [C, D], null: not wanted
  void* dbias;                  // [C], null: not wanted
};

/// Gradients of <ddh, dh> + <ddweight, dweight> + <ddbias, dbias> with respect to h, weight, bias
/// and dloss (the derivation stands above the CPU kernel).
struct LinearCrossEntropyDoubleBackwardArgs {
  DType dtype;
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t width;
  std::int64_t ignore_index = -100;
  double smoothing = 0;
  const void* h;                // [rows, D]
  const void* weight;           // [C, D]
  const void* bias;             // [C], null: zeros
  const std::int64_t* targets;  // [rows]
  const void* lse;              // [rows]
  const void* dloss;            // [rows]
  const void* ddh;              // [rows, D], null: zero
  const void* ddweight;         // [C, D], null: zero
  const void* ddbias;           // [C], null: zero
  void* dh2;                    // [rows, D], gradient with respect to h, null: not wanted
  void* dweight2;               // [C, D], gradient with respect to weight, null: not wanted
  void* dbias2;                 // [C], gradient with respect to bias, null: not wanted
  void* ddloss;                 // [rows], gradient with respect to dloss, null: not wanted
};

inline Slot<SoftmaxCrossEntropyForwardArgs> softmax_cross_entropy_forward{
    "softmax_cross_entropy_forward"};
inline Slot<SoftmaxCrossEntropyBackwardArgs> softmax_cross_entropy_backward{
    "softmax_cross_entropy_backward"};
inline Slot<SoftmaxCrossEntropyDoubleBackwardArgs> softmax_cross_entropy_double_backward{
    "softmax_cross_entropy_double_backward"};
inline Slot<LinearCrossEntropyForwardArgs> linear_cross_entropy_forward{
    "linear_cross_entropy_forward"};
inline Slot<LinearCrossEntropyBackwardArgs> linear_cross_entropy_backward{
    "linear_cross_entropy_backward"};
inline Slot<LinearCrossEntropyDoubleBackwardArgs> linear_cross_entropy_double_backward{
    "linear_cross_entropy_double_backward"};

}  // namespace mettle::kernels
