// The common norm of gradients of any dtypes and layouts, one kernel call for each dtype.
#include "models/clip.h"

#include <cmath>
#include <limits>
#include <vector>

#include "autograd/ops.h"
#include "engine/exec.h"
#include "kernels/optimizer.h"

namespace mettle {

double gradient_norm(std::span<const Variable> gradients) {
  const NoGrad off;
  Variables dense;  // keeps the copies of strided gradients
  for (const Variable& g : gradients) {
    if (!g) continue;
    METTLE_CHECK(DTypeError, is_floating(g.dtype()), "gradient_norm: gradient {} is not floating",
                 describe(g.value()));
    METTLE_CHECK(DeviceError, dense.empty() || g.device() == dense[0].device(),
                 "gradient_norm: {} and {} are on two devices", describe(g.value()),
                 describe(dense[0].value()));
    dense.push_back(contiguous(g));
  }
  double total = 0;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    std::vector<kernels::NormTensor> tensors;
    for (const Variable& g : dense)
      if (g.dtype() == dtype) tensors.push_back({g.value().data(), g.numel()});
    if (tensors.empty()) continue;
    const Tensor norm = Tensor::empty({1}, DType::f64, dense[0].device());
    kernels::global_norm(current_stream(norm.device()),
                         {dtype, tensors.data(), std::ssize(tensors), norm.data<double>()});
    total = std::hypot(total, norm.item());
  }
  return total;
}

double clip_factor(double norm, double max_norm) {
  METTLE_CHECK(ValueError, max_norm > 0, "clip_factor: the largest norm is {}; it must be positive",
               max_norm);
  if (!std::isfinite(norm)) return std::numeric_limits<double>::quiet_NaN();
  return norm <= max_norm ? 1.0 : max_norm / norm;
}

}  // namespace mettle
