// What the machine can do at most right now: a probe that benchmarks print beside their own figure.
#pragma once

namespace mettle::bench {

/// f32 multiply-add operations of one thread in GFLOP/s (2 per multiply-add), the best of a few
/// short runs of a loop that lives in registers.
double fma_gflops();

}  // namespace mettle::bench
