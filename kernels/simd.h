// Which vector instructions the CPU kernels of this build use on this machine.
#pragma once

#include <string>

namespace mettle::kernels {

/// "AVX3_ZEN4", "AVX3", "AVX2" or the baseline's name: the best level that the build contains, the
/// machine has, and METTLE_SIMD allows. METTLE_SIMD=avx512, avx2 or baseline caps the level, to
/// find out what a smaller machine would compute. ValueError when it says anything else.
std::string simd_level();

}  // namespace mettle::kernels
