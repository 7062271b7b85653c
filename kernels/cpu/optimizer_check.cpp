// What every variant of the optimizer steps refuses, on every device.
#include "kernels/cpu/optimizer_check.h"

#include "engine/check.h"

namespace mettle::kernels::cpu {
namespace {

void check_step_dtype(std::string_view step, DType dtype) {
  METTLE_CHECK(DTypeError, dtype == DType::f32 || dtype == DType::f64,
               "{}: parameters are f32 or f64, got {}; keep master weights in f32", step,
               to_string(dtype));
}

}  // namespace

void check_step(const AdamStepArgs& a) {
  check_step_dtype("adam_step", a.dtype);
  METTLE_CHECK(ValueError, a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1,
               "adam_step: betas {} and {} must be in [0, 1)", a.beta1, a.beta2);
  for (std::int64_t k = 0; k < a.count; ++k)
    METTLE_CHECK(ValueError, a.tensors[k].steps_made || a.tensors[k].step >= 1,
                 "adam_step: step of tensor {} is {}; the first one is 1", k, a.tensors[k].step);
  const double eps = a.dtype == DType::f32 ? static_cast<float>(a.eps) : a.eps;
  METTLE_CHECK(ValueError, eps > 0, "adam_step: eps is {}; it must be positive in {}", a.eps,
               to_string(a.dtype));
}

void check_step(const SgdStepArgs& a) { check_step_dtype("sgd_step", a.dtype); }

}  // namespace mettle::kernels::cpu
