// The common norm of gradients of any dtypes and layouts, one kernel call for each dtype.
#include "models/clip.h"

#include <cmath>
#include <limits>
#include <vector>

#include "autograd/ops.h"
#include "engine/exec.h"
#include "kernels/optimizer.h"

namespace mettle {
namespace {

/// One norm for each dtype that there is, f64 on the gradients' device; undefined when all
/// gradients are null.
Tensor norms_by_dtype(std::span<const Variable> gradients) {
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
  if (dense.empty()) return {};
  const Tensor norms = Tensor::empty({4}, DType::f64, dense[0].device());
  std::int64_t count = 0;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    std::vector<kernels::NormTensor> tensors;
    for (const Variable& g : dense)
      if (g.dtype() == dtype) tensors.push_back({g.value().data(), g.numel()});
    if (tensors.empty()) continue;
    kernels::global_norm(
        current_stream(norms.device()),
        {dtype, tensors.data(), std::ssize(tensors), norms.data<double>() + count++});
  }
  return norms.slice(0, 0, count);
}

void check_max_norm(double max_norm) {
  METTLE_CHECK(ValueError, max_norm > 0, "clip_factor: the largest norm is {}; it must be positive",
               max_norm);
}

}  // namespace

double gradient_norm(std::span<const Variable> gradients) {
  const Tensor norms = norms_by_dtype(gradients);
  double total = 0;
  if (norms.defined())
    for (const double norm : norms.to_vector<double>()) total = std::hypot(total, norm);
  return total;
}

Tensor gradient_norm_tensor(std::span<const Variable> gradients) {
  const Tensor norms = norms_by_dtype(gradients);
  METTLE_CHECK(ValueError, norms.defined(), "gradient_norm_tensor: every gradient is null");
  if (norms.numel() == 1) return norms.view({});
  Tensor total = Tensor::empty({}, DType::f64, norms.device());
  const kernels::NormTensor all{norms.data(), norms.numel()};
  kernels::global_norm(current_stream(total.device()), {DType::f64, &all, 1, total.data<double>()});
  return total;
}

double clip_factor(double norm, double max_norm) {
  check_max_norm(max_norm);
  if (!std::isfinite(norm)) return std::numeric_limits<double>::quiet_NaN();
  return norm <= max_norm ? 1.0 : max_norm / norm;
}

Tensor clip_factor(const Tensor& norm, double max_norm) {
  check_max_norm(max_norm);
  const NoGrad off;
  const Variable n(norm);
  const Variable limited = minimum(full_like(n, max_norm) / n, full_like(n, 1.0));
  return (limited + 0.0 * n).value();  // 0 n: NaN where the norm is not finite, else 0
}

}  // namespace mettle
