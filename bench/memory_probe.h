// How fast this machine moves memory right now: a probe that benchmarks print beside their own
// figure.
#pragma once

#include <cstddef>

namespace mettle::bench {

/// GB/s (1e9 bytes read or written a second) of the faster of a copy (y = x) and a triad
/// (z = x + s y) whose arrays take `footprint` bytes in all, on the pool's threads: the median of a
/// few passes over memory that the passes before have touched. With the footprint of the kernel
/// under test, caches help both alike. Pages that a store fetches before writing are not counted,
/// neither here nor for the kernels.
double memory_rate(std::size_t footprint);

}  // namespace mettle::bench
