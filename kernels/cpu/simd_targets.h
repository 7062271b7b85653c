// Which SIMD targets the CPU kernels are compiled for: the baseline of the build, AVX2 and AVX-512.
// To be included before any Highway header.
#pragma once

#ifdef METTLE_FEW_SIMD_TARGETS  // sanitizer builds: AVX2 runs the same source as AVX-512
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX2 | HWY_AVX3_DL)
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
