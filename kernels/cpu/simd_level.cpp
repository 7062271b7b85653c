// METTLE_SIMD: a cap on the vector instructions of all CPU kernels.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/check.h"
#include "kernels/builtin.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/simd.h"

// after simd_targets.h
#include <hwy/highway.h>

namespace mettle::kernels {
namespace cpu {
// Highway's targets are bits, the better ones lower.
void cap_simd_level() {
  const char* text = std::getenv("METTLE_SIMD");
  const std::string_view cap = text ? text : "";
  if (cap == "avx2") {
    hwy::DisableTargets(HWY_AVX2 - 1);
  } else if (cap == "baseline") {
    hwy::DisableTargets(HWY_STATIC_TARGET - 1);
  } else {
    METTLE_CHECK(ValueError, cap.empty() || cap == "avx512",
                 "METTLE_SIMD={}: the levels are avx512, avx2 and baseline", cap);
  }
}

}  // namespace cpu

std::string simd_level() {
  KernelSlotBase::all(register_builtin_kernels);  // registration caps the level
  const std::int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(usable & -usable);
}

}  // namespace mettle::kernels
