// How fast this machine moves memory right now: a probe that benchmarks print beside their own
// figure.
#pragma once

namespace mettle::bench {

/// GB/s (1e9 bytes read or written a second) of the faster of a copy (y = x) and a triad
/// (z = x + s y) over arrays far larger than any cache, on the pool's threads: the median of a few
/// passes. Pages that a store fetches before writing are not counted, neither here nor for the
/// kernels. With one thread its processor time counts, which other work on the machine disturbs
/// less than elapsed time.
double memory_rate();

}  // namespace mettle::bench
