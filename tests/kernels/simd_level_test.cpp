// METTLE_SIMD caps the level, and nonsense is refused each time until it is mended.
#include "kernels/simd.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "engine/check.h"
#include "kernels/builtin.h"
#include "tests/autograd/message_of.h"

namespace mettle::test {
namespace {

// One test: the level is settled once in a process.
TEST(SimdLevel, IsCappedByTheEnvironment) {
  ASSERT_EQ(setenv("METTLE_SIMD", "sse", 1), 0);
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(message_of<ValueError>([] { kernels::simd_level(); }),
              "METTLE_SIMD=sse: the levels are avx512, avx2 and baseline");
  ASSERT_EQ(setenv("METTLE_SIMD", "baseline", 1), 0);
  EXPECT_THAT(kernels::simd_level(), testing::AllOf(testing::Not(testing::HasSubstr("AVX2")),
                                                    testing::Not(testing::HasSubstr("AVX3"))));
  EXPECT_FALSE(KernelSlotBase::all(kernels::register_builtin_kernels).empty());
}

}  // namespace
}  // namespace mettle::test
