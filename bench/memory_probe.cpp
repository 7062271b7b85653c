// Copy and triad with the vectors of this machine and ordinary stores, as the kernels use them.
#include "bench/memory_probe.h"

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/memory_probe.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "engine/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void copy(const float* x, float* y, std::size_t n) {
  const hn::ScalableTag<float> d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::StoreU(hn::LoadU(d, x + i), d, y + i);
}

void triad(const float* x, const float* y, float* z, std::size_t n) {
  const hn::ScalableTag<float> d;
  const auto s = hn::Set(d, 0.5f);
  for (std::size_t i = 0; i < n; i += hn::Lanes(d))
    hn::StoreU(hn::MulAdd(s, hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, z + i);
}

}  // namespace mettle::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::bench {

HWY_EXPORT(copy);
HWY_EXPORT(triad);

namespace {

// Array lengths are multiples of this: whole vectors on every machine, and a fair cut for threads.
constexpr std::size_t block = 4096;

double now() {
  timespec t{};
  clock_gettime(threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class Pass> double median_seconds(const Pass& pass) {
  constexpr int passes = 5;
  std::vector<double> seconds;
  for (int i = 0; i < passes + 1; ++i) {
    const double begin = now();
    pass();
    seconds.push_back(now() - begin);
  }
  seconds.erase(seconds.begin());  // touches fresh pages
  std::nth_element(seconds.begin(), seconds.begin() + passes / 2, seconds.end());
  return seconds[passes / 2];
}

// Runs body(first, count) over n elements in the kernels' manner.
template <class Body> void on_the_pool(std::size_t n, const Body& body) {
  parallel_for(static_cast<std::int64_t>(n / block), 16, [&](std::int64_t begin, std::int64_t end) {
    body(static_cast<std::size_t>(begin) * block, static_cast<std::size_t>(end - begin) * block);
  });
}

double rate(std::size_t arrays, std::size_t n, double seconds) {
  return 1e-9 * static_cast<double>(arrays * n * sizeof(float)) / seconds;
}

}  // namespace

double memory_rate() {
  constexpr std::size_t n = std::size_t{16} << 20;  // 64 MiB an array
  std::vector<float> x(n, 1.0f), y(n, 2.0f), z(n, 3.0f);
  const double copying = median_seconds([&] {
    on_the_pool(n, [&](std::size_t at, std::size_t count) {
      HWY_DYNAMIC_DISPATCH(copy)(x.data() + at, y.data() + at, count);
    });
  });
  const double adding = median_seconds([&] {
    on_the_pool(n, [&](std::size_t at, std::size_t count) {
      HWY_DYNAMIC_DISPATCH(triad)(x.data() + at, y.data() + at, z.data() + at, count);
    });
  });
  return std::max(rate(2, n, copying), rate(3, n, adding));
}

}  // namespace mettle::bench
#endif
