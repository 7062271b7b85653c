// Clipping gradients by their common norm, and finding those that are not finite before they reach
// a weight:
//
//   const double norm = gradient_norm(gradients);
//   if (!std::isfinite(norm)) ...;  // stop here: the weights are untouched
//   optimizer.step(params.values(), gradients, rate, clip_factor(norm, 1.0));
//
// On a device both can stay there, so that nothing waits and the step can be captured as a graph
// (engine/cuda_graph.h); the optimizer then leaves the weights untouched where the norm is not
// finite:
//
//   optimizer.step(params.values(), gradients, rate,
//                  clip_factor(gradient_norm_tensor(gradients), 1.0));
#pragma once

#include <span>

#include "autograd/variable.h"

namespace mettle {

/// The Euclidean norm of all elements of all gradients, of any float dtypes; null ones are zero.
/// Summed in f64, with the same bits for any number of threads. NaN or infinite when an element is,
/// or when a square overflows f64. DTypeError, DeviceError.
double gradient_norm(std::span<const Variable> gradients);

/// min(1, max_norm / norm): what the gradients must be multiplied by. NaN, which Optimizer::step
/// refuses, for a norm that is not finite. ValueError unless max_norm > 0.
double clip_factor(double norm, double max_norm);

/// The norm as an f64 tensor () on the gradients' device; nothing waits. ValueError when all of
/// them are null, since then no device is named.
Tensor gradient_norm_tensor(std::span<const Variable> gradients);
/// The factor of such a norm, f64 () on its device, with the bits of the function above.
Tensor clip_factor(const Tensor& norm, double max_norm);

}  // namespace mettle
