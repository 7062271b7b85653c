// Optimizer steps over a list of tensors in one pass, and the norm of a list of gradients.
//
// Below, g = gradient_scale grad is what arrives at a step: gradient clipping and loss scaling are
// part of the same pass. An element of grad that is not finite makes its own moments and parameter
// so, and no other's; whoever wants to stop before that reads global_norm() first. Tensors of one
// call share a dtype, are dense and do not overlap each other; n may be 0.
//
// Numbers that change from step to step may stand in the memory of the kernel's device: a captured
// graph then finds their values of each launch. They are nullable pointers to one number: a rate
// that every lr is multiplied by, a scale that gradient_scale is multiplied by, and the steps that
// a parameter has made, which the call counts up. A rate that is negative or not finite and a scale
// that is not finite, which a caller could have refused had the host known them, make the call do
// nothing, count nothing.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

struct AdamTensor {
  void* param;       // [n], updated
  const void* grad;  // [n]
  void* m;           // [n] first moment, zeros before step 1, updated
  void* v;           // [n] second moment, zeros before step 1, updated
  std::int64_t n;
  std::int64_t step;  // of this parameter, 1 for the first; not read where steps_made is given
  double lr;
  double l2 = 0;                       // added to the gradient (Adam's weight decay): g + l2 param
  double decay = 0;                    // decoupled (AdamW's): the parameter shrinks by 1 - lr decay
  std::int64_t* steps_made = nullptr;  // before this one; counted up
};

/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, "Decoupled weight decay
/// regularization", 2019), with u = g + l2 param:
///   m = beta1 m + (1 - beta1) u,   v = beta2 v + (1 - beta2) u^2,
///   param = (1 - lr decay) param - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)
/// Throws DTypeError unless dtype is f32 or f64, ValueError unless every step that is read >= 1,
/// both betas are in [0, 1) and eps is positive in dtype.
struct AdamStepArgs {
  DType dtype;
  const AdamTensor* tensors;  // [count]
  std::int64_t count;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double gradient_scale = 1;
  const double* rate = nullptr;   // a factor of every lr
  const double* scale = nullptr;  // a factor of gradient_scale
};

struct SgdTensor {
  void* param;       // [n], updated
  const void* grad;  // [n]
  void* velocity;    // [n], zeros before the first step, updated; null: no momentum
  std::int64_t n;
  double lr;
  double l2 = 0;                       // added to the gradient: g + l2 param
  std::int64_t* steps_made = nullptr;  // before this one; counted up
};

/// SGD with momentum mu (Sutskever et al., "On the importance of initialization and momentum in
/// deep learning", 2013, with the rate outside of the velocity):
///   u = g + l2 param,   velocity = mu velocity + u,
///   param -= lr velocity,   or with Nesterov's momentum   param -= lr (u + mu velocity).
/// Without a velocity param -= lr u. Throws DTypeError unless dtype is f32 or f64.
struct SgdStepArgs {
  DType dtype;
  const SgdTensor* tensors;  // [count]
  std::int64_t count;
  double momentum = 0;
  bool nesterov = false;
  double gradient_scale = 1;
  const double* rate = nullptr;   // a factor of every lr
  const double* scale = nullptr;  // a factor of gradient_scale
};

struct NormTensor {
  const void* data;  // [n]
  std::int64_t n;
};

/// The Euclidean norm of all elements of all tensors, summed in f64 in an order that depends on
/// their sizes only. NaN or infinite where an element is, and where a square overflows f64.
struct GlobalNormArgs {
  DType dtype;                // f64, f32, bf16 or f16; DTypeError otherwise
  const NormTensor* tensors;  // [count]
  std::int64_t count;
  double* norm;  // [1], in the device's memory; the list of tensors is the host's
};

inline Slot<AdamStepArgs> adam_step{"adam_step"};
inline Slot<SgdStepArgs> sgd_step{"sgd_step"};
inline Slot<GlobalNormArgs> global_norm{"global_norm"};

}  // namespace mettle::kernels
