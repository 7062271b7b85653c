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

constexpr std::size_t length = std::size_t{16} << 20;  // 64 MiB an array
// Whole vectors on every machine, and a fair cut for threads.
constexpr std::size_t block = 4096;

// Runs body(first, count) over the arrays in the kernels' manner.
template <class Body> double seconds_of(const Body& body) {
  const double begin = clock_seconds();
  parallel_for(static_cast<std::int64_t>(length / block), 16,
               [&](std::int64_t first, std::int64_t last) {
                 body(static_cast<std::size_t>(first) * block,
                      static_cast<std::size_t>(last - first) * block);
               });
  return clock_seconds() - begin;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double rate_of(std::size_t arrays, const std::vector<double>& seconds) {
  return 1e-9 * static_cast<double>(arrays * length * sizeof(float)) / median(seconds);
}

}  // namespace

double clock_seconds() {
  timespec t{};
  clock_gettime(threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

MemoryProbe::MemoryProbe() : x_(length, 1.0f), y_(length, 2.0f), z_(length, 3.0f) {}

void MemoryProbe::pass() {
  copy_seconds_.push_back(seconds_of([&](std::size_t at, std::size_t count) {
    HWY_DYNAMIC_DISPATCH(copy)(x_.data() + at, y_.data() + at, count);
  }));
  triad_seconds_.push_back(seconds_of([&](std::size_t at, std::size_t count) {
    HWY_DYNAMIC_DISPATCH(triad)(x_.data() + at, y_.data() + at, z_.data() + at, count);
  }));
}

void MemoryProbe::restart() {
  copy_seconds_.clear();
  triad_seconds_.clear();
}

double MemoryProbe::rate() const {
  return std::max(rate_of(2, copy_seconds_), rate_of(3, triad_seconds_));
}

}  // namespace mettle::bench
#endif
