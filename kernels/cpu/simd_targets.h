// Which SIMD targets the CPU kernels are compiled for: the baseline of the build, AVX2 and AVX-512.
// To be included before any Highway header.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
