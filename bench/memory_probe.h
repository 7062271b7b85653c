// How fast this machine moves memory right now: what benchmarks set beside their own figure.
#pragma once

#include <cstddef>
#include <vector>

namespace mettle::bench {

/// Seconds of elapsed time; with one thread of processor time, which other work on the machine
/// disturbs less.
double clock_seconds();

/// A copy (y = x) and a triad (z = x + s y) over arrays far larger than any cache, on the pool's
/// threads, with ordinary stores as in STREAM. The lines that such a store fetches before writing
/// are not counted; a kernel that writes past the caches saves them and may pass 100 %.
class MemoryProbe {
 public:
  MemoryProbe();

  /// One copy and one triad, timed.
  void pass();
  /// Forgets the passes so far.
  void restart();
  /// GB/s (1e9 bytes read or written a second) of the faster of the two, by its median pass.
  double rate() const;

 private:
  std::vector<float> x_, y_, z_;
  std::vector<double> copy_seconds_, triad_seconds_;
};

}  // namespace mettle::bench
