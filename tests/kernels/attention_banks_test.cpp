// What only the emulated device counts: tiles of the attention kernels lie in shared memory without
// bank conflicts, for every class of head dims.
#include "kernels/emulation/driver.h"
#include "tests/kernels/attention_problem.h"

namespace mettle::test {
namespace {

TEST(AttentionBanks, MatrixLoadsMeetNoConflict) {
  ASSERT_EQ(device_under_test().type, DeviceType::cuda);
  auto& driver = dynamic_cast<emulation::EmulatedDriver&>(cuda_driver());
  for (const char* variant : {"mma", "mma_head"})
    for (const std::int64_t dims : {32, 64, 96, 128})
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

}  // namespace
}  // namespace mettle::test
