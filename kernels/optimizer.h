// Optimizer steps over a list of tensors in one pass, and the norm of a list of gradients.
// dtype is f32 or f64 (DTypeError otherwise). g below is grad_scale * grad.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

struct AdamWTensor {
  void* param;  // [n], updated
  const void* grad;
  void* m;  // [n] first moment, zeros before step 1, updated
  void* v;  // [n] second moment, zeros before step 1, updated
  std::int64_t n;
  double weight_decay;  // lambda, per tensor: biases and gains usually take 0
};

/// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019):
///   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///   param = (1 - lr lambda) param - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
/// Throws ValueError unless step >= 1 and both betas are in [0, 1).
struct AdamWArgs {
  DType dtype;
  const AdamWTensor* tensors;  // [count]
  std::int64_t count;
  std::int64_t step;  // 1 for the first
  double lr;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double grad_scale = 1;  // 1 / loss scale, or the factor of gradient clipping
};

struct SgdTensor {
  void* param;  // [n], updated
  const void* grad;
  void* velocity;  // [n], zeros before the first step, updated; null: no momentum
  std::int64_t n;
  double weight_decay;  // lambda, added to the gradient
};

/// SGD with momentum mu (Sutskever et al., "On the importance of initialization and momentum in
/// deep learning", 2013, in the form with the rate outside of the velocity):
///   u = g + lambda param,  velocity = mu velocity + u,  param -= lr (nesterov ? u + mu velocity
///                                                                             : velocity)
/// Without a velocity: param -= lr u.
struct SgdArgs {
  DType dtype;
  const SgdTensor* tensors;  // [count]
  std::int64_t count;
  double lr;
  double momentum = 0;
  bool nesterov = false;
  double grad_scale = 1;
};

struct ConstTensor {
  const void* data;
  std::int64_t n;
};

/// The Euclidean norm of all elements of all tensors, summed in f64 in a fixed order, and whether
/// every element is finite.
struct GlobalNormArgs {
  DType dtype;                 // f64, f32, bf16 or f16
  const ConstTensor* tensors;  // [count]
  std::int64_t count;
  double* norm;  // [1]; NaN or infinite where an element is
  bool* finite;  // [1]
};

inline Slot<AdamWArgs> adamw_step{"adamw_step"};
inline Slot<SgdArgs> sgd_step{"sgd_step"};
inline Slot<GlobalNormArgs> global_norm{"global_norm"};

}  // namespace mettle::kernels
