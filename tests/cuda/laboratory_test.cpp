// The walk of docs/kernel-laboratory.md: its variant, chosen by METTLE_KERNEL, under the layer norm
// tests that this program is linked with.
#include <gtest/gtest.h>

#include "kernels/layer_norm.h"
#include "tests/kernels/device_under_test.h"

namespace mettle::kernels::cuda {
void register_my_layer_norm();
}

namespace mettle::test {
namespace {

// Before main(), where a program of one's own would call it first.
const bool added = [] {
  kernels::cuda::register_my_layer_norm();
  return true;
}();

TEST(Laboratory, TheNewVariantIsTriedFirstOnTheDevice) {
  (void)device_under_test();  // registers the kernels of this build
  for (const VariantInfo& v : kernels::layer_norm_forward.variants()) {
    if (v.device != DeviceType::cuda) continue;
    EXPECT_EQ(v.name, "mine");
    EXPECT_EQ(v.takes, "floating dtypes");
    return;
  }
  FAIL() << "layer_norm_forward has no cuda variant";
}

}  // namespace
}  // namespace mettle::test
