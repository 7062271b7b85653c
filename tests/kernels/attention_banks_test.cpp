// What only the emulated device counts: tiles of the attention kernels lie in shared memory without
// bank conflicts, for every class of head dims.
#include "engine/cuda_device.h"
#include "kernels/emulation/driver.h"
#include "tests/kernels/attention_problem.h"

namespace mettle::test {
namespace {

TEST(AttentionBanks, MatrixLoadsMeetNoConflict) {
  ASSERT_EQ(device_under_test().type, DeviceType::cuda);
  auto& driver = dynamic_cast<emulation::EmulatedDriver&>(cuda_driver());
  struct Row {
    const char* variant;
    std::int64_t dims;
  };
  for (const auto& [variant, dims] : std::initializer_list<Row>{
           {"mma", 32}, {"mma", 64}, {"mma", 96}, {"mma", 128}, {"mma_head", 32}, {"mma_head", 64}})
    for (const std::int64_t keys : {16, 80}) {
      AttentionRun r({1, 1, 16, keys, dims, dims}, DType::bf16);
      synchronize(device_under_test());
      const emulation::Counts before = driver.counts();
      r.run(variant);
      synchronize(device_under_test());
      EXPECT_GT(driver.counts().ldmatrix_phases, before.ldmatrix_phases);
      EXPECT_EQ(driver.counts().ldmatrix_conflicts, before.ldmatrix_conflicts)
          << variant << " " << dims;
    }
}

// wgmma reads no matrix by ldmatrix: this is how to see that it is what runs. A head of 130 queries
// is too large for the variant that has a block for each.
TEST(AttentionBanks, WgmmaIsWhatRunsOnDevicesThatHaveIt) {
  const bool has_wgmma = cuda_device(device_under_test()).info().major == 9;
  auto& driver = dynamic_cast<emulation::EmulatedDriver&>(cuda_driver());
  const auto loads = [&](auto& kernel, const auto& args) {
    synchronize(device_under_test());
    const emulation::Counts before = driver.counts();
    kernel(stream_under_test(), args);
    synchronize(device_under_test());
    return driver.counts().ldmatrix_phases - before.ldmatrix_phases;
  };
  for (const std::int64_t gap : {0, 8}) {
    AttentionRun r({1, 2, 130, 24, 64, 64, false, MaskKind::none, PaddingKind::none, 0, gap},
                   DType::f16);
    EXPECT_EQ(loads(kernels::attention_forward, r.forward_args()) == 0, has_wgmma);
    EXPECT_EQ(loads(kernels::attention_jvp, r.jvp_args()) == 0, has_wgmma);
    EXPECT_EQ(loads(kernels::attention_backward, r.backward_args()) == 0, has_wgmma);
    EXPECT_EQ(loads(kernels::attention_double_backward, r.double_backward_args()) == 0, has_wgmma);
    const Selected mma({&kernels::attention_forward, &kernels::attention_jvp,
                        &kernels::attention_backward, &kernels::attention_double_backward},
                       "mma");
    EXPECT_GT(loads(kernels::attention_forward, r.forward_args()), 0);
    EXPECT_GT(loads(kernels::attention_jvp, r.jvp_args()), 0);
    EXPECT_GT(loads(kernels::attention_backward, r.backward_args()), 0);
    EXPECT_GT(loads(kernels::attention_double_backward, r.double_backward_args()), 0);
  }
}

}  // namespace
}  // namespace mettle::test
