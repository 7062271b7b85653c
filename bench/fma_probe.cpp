// A loop of independent multiply-adds on registers, with the best instructions of this machine.
#include "bench/fma_probe.h"

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/fma_probe.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include <algorithm>
#include <chrono>

HWY_BEFORE_NAMESPACE();
namespace mettle::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Seconds for `rounds` x 12 multiply-adds: 12 chains cover latency 4 on two or three ports.
double seconds(int rounds, float start, float& sink) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, start);
  // Different values: equal chains would be merged into one.
  const auto chain = [&](float offset) HWY_ATTR { return hn::Set(d, start + offset); };
  auto a = chain(1), b = chain(2), c = chain(3), e = chain(4), f = chain(5), g = chain(6),
       h = chain(7), i = chain(8), j = chain(9), k = chain(10), l = chain(11), m = chain(12);
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, factor, factor);
    b = hn::MulAdd(b, factor, factor);
    c = hn::MulAdd(c, factor, factor);
    e = hn::MulAdd(e, factor, factor);
    f = hn::MulAdd(f, factor, factor);
    g = hn::MulAdd(g, factor, factor);
    h = hn::MulAdd(h, factor, factor);
    i = hn::MulAdd(i, factor, factor);
    j = hn::MulAdd(j, factor, factor);
    k = hn::MulAdd(k, factor, factor);
    l = hn::MulAdd(l, factor, factor);
    m = hn::MulAdd(m, factor, factor);
  }
  const auto end = std::chrono::steady_clock::now();
  const auto total = hn::Add(
      hn::Add(hn::Add(a, b), hn::Add(c, e)),
      hn::Add(hn::Add(hn::Add(f, g), hn::Add(h, i)), hn::Add(hn::Add(j, k), hn::Add(l, m))));
  sink = hn::GetLane(total);
  return std::chrono::duration<double>(end - begin).count();
}

double gflops() {
  constexpr int rounds = 200000;
  const double flop = 2.0 * 12 * rounds * static_cast<double>(hn::Lanes(hn::ScalableTag<float>()));
  volatile float start = 0.5f;
  double best = 0;
  for (int run = 0; run < 10; ++run) {
    float sink = 0;
    best = std::max(best, 1e-9 * flop / seconds(rounds, start, sink));
    start = sink > 1e30f ? 0.25f : 0.5f;  // the result is used: the loop cannot be dropped
  }
  return best;
}

}  // namespace mettle::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::bench {

HWY_EXPORT(gflops);

double fma_gflops() { return HWY_DYNAMIC_DISPATCH(gflops)(); }

}  // namespace mettle::bench
#endif
