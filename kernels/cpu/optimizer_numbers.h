// Optimizer steps whose numbers stand in memory, as steps whose numbers stand in their arguments.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/optimizer.h"

namespace mettle::kernels::cpu {

inline void count_step(AdamTensor& t) {
  if (t.steps_made) t.step = ++*t.steps_made;
}
inline void count_step(SgdTensor& t) {
  if (t.steps_made) ++*t.steps_made;
}

/// Calls run(args) with the values of rate, scale and steps_made filled in; not at all where they
/// forbid a step. Tensor is the element type of the list.
template <class Tensor, class Args, class Run> void with_numbers(const Args& a, const Run& run) {
  const double rate = a.rate ? *a.rate : 1.0, scale = a.scale ? *a.scale : 1.0;
  if (!(rate >= 0.0) || !std::isfinite(rate) || !std::isfinite(scale)) return;
  std::vector<Tensor> tensors(a.tensors, a.tensors + a.count);
  for (Tensor& t : tensors) {
    count_step(t);
    t.lr *= rate;
  }
  Args filled = a;
  filled.tensors = tensors.data();
  filled.gradient_scale *= scale;
  run(filled);
}

}  // namespace mettle::kernels::cpu
