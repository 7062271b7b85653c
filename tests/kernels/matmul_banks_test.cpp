// What only the emulated device counts: tiles of the matrix products lie in shared memory without
// bank conflicts.
#include "kernels/emulation/driver.h"
#include "kernels/matmul.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

TEST(MatmulBanks, MatrixLoadsMeetNoConflict) {
  ASSERT_EQ(device_under_test().type, DeviceType::cuda);
  auto& driver = dynamic_cast<emulation::EmulatedDriver&>(cuda_driver());
  for (const char* variant : {"mma_medium", "mma_large"})
    for (const bool columns_a : {false, true})
      for (const bool columns_b : {false, true}) {
        const Selected pinned({&kernels::matmul}, variant);
        const std::int64_t size = 64;
        Buffer a(DType::bf16, size * size), b(DType::bf16, size * size),
            c(DType::bf16, size * size);
        const emulation::Counts before = driver.counts();
        kernels::matmul(stream_under_test(), {DType::bf16,
                                              size,
                                              size,
                                              size,
                                              a.data(),
                                              b.data(),
                                              c.data(),
                                              columns_a ? 1 : size,
                                              columns_a ? size : 1,
                                              columns_b ? 1 : size,
                                              columns_b ? size : 1,
                                              {},
                                              {},
                                              {}});
        synchronize(device_under_test());
        EXPECT_GT(driver.counts().ldmatrix_phases, before.ldmatrix_phases);
        EXPECT_EQ(driver.counts().ldmatrix_conflicts, before.ldmatrix_conflicts)
            << variant << columns_a << columns_b;
      }
}

}  // namespace
}  // namespace mettle::test
