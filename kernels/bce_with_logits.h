// Binary cross-entropy of logits, in the form that neither overflows nor cancels.
//
//   loss_i = w_i ( (1 - t_i) x_i + (1 + (p - 1) t_i) softplus(-x_i) ),
//   softplus(-x) = max(-x, 0) + log1p(exp(-|x|)),     p = pos_weight
//
// For p = 1 this is w (max(x, 0) - x t + log1p(exp(-|x|))). The weight is a constant. Losses and
// their differentials are f32, or f64 where dtype is f64: [n] for Reduction::none, otherwise one
// number; mean divides by n. Sums are taken in f64 in a fixed order. Elementwise outputs may be the
// very memory of an input.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"
#include "kernels/reduction.h"

namespace mettle::kernels {

struct BceWithLogitsForwardArgs {
  DType dtype;  // of x, target, weight, dx
  Reduction reduction;
  std::int64_t n;
  double pos_weight = 1;
  const void* x;       // [n] logits
  const void* target;  // [n], in [0, 1]
  const void* weight;  // [n], null: ones
  void* loss;          // [n] or [1], f32 or f64
  void* dx_of_one;     // [n], null: not wanted; the gradient for dloss = 1, made in the same pass
};

/// Gradients of <dloss, loss>.
struct BceWithLogitsBackwardArgs {
  DType dtype;
  Reduction reduction;
  std::int64_t n;
  double pos_weight = 1;
  const void* x;       // [n]
  const void* target;  // [n]
  const void* weight;  // [n], null: ones
  const void* dloss;   // [n] or [1], f32 or f64
  void* dx;            // [n], null: not wanted
  void* dtarget;       // [n], null: not wanted
};

/// Gradients of <ddx, dx> + <ddtarget, dtarget> with respect to x, target and dloss.
struct BceWithLogitsDoubleBackwardArgs {
  DType dtype;
  Reduction reduction;
  std::int64_t n;
  double pos_weight = 1;
  const void* x;         // [n]
  const void* target;    // [n]
  const void* weight;    // [n], null: ones
  const void* dloss;     // [n] or [1], f32 or f64
  const void* ddx;       // [n], null: zero
  const void* ddtarget;  // [n], null: zero
  void* dx2;             // [n], gradient with respect to x, null: not wanted
  void* dtarget2;        // [n], gradient with respect to target, null: not wanted
  void* ddloss;          // [n] or [1], f32 or f64, gradient with respect to dloss, null: not wanted
};

inline Slot<BceWithLogitsForwardArgs> bce_with_logits_forward{"bce_with_logits_forward"};
inline Slot<BceWithLogitsBackwardArgs> bce_with_logits_backward{"bce_with_logits_backward"};
inline Slot<BceWithLogitsDoubleBackwardArgs> bce_with_logits_double_backward{
    "bce_with_logits_double_backward"};

}  // namespace mettle::kernels
