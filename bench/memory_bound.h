// Measuring a step that should be bound by memory against a copy and triad in the same process.
#pragma once

#include <benchmark/benchmark.h>

#include <initializer_list>

#include "bench/memory_probe.h"
#include "engine/parallel.h"
#include "engine/tensor.h"
#include "kernels/random.h"

namespace mettle::bench {

/// Uniform numbers in f32.
inline Tensor random_tensor(const Shape& shape, unsigned seed) {
  const Tensor t = Tensor::empty(shape);
  kernels::random_fill(
      {}, {kernels::Distribution::uniform, DType::f32, t.data(), t.numel(), {seed, 0}, -2.0, 2.0});
  return t;
}

/// A row's times and rates are elapsed time, or processor time with one thread, as the probe's are.
inline void clock_of_the_probe(benchmark::internal::Benchmark* row) {
  if (threads() > 1) row->UseRealTime();
}

/// Repeats `step`, which reads or writes each of `moved` once, and reports the rate.
template <class Step>
void measure(benchmark::State& state, std::initializer_list<Tensor> moved, const Step& step) {
  std::size_t bytes = 0;
  for (const Tensor& t : moved) bytes += t.bytes();
  step();
  const double limit = memory_rate();
  for (auto _ : state) step();
  using benchmark::Counter;
  const double gigabytes = 1e-9 * static_cast<double>(bytes);
  state.counters["GB/s"] = Counter(gigabytes, Counter::kIsIterationInvariantRate);
  state.counters["limit_GB/s"] = limit;
  state.counters["%_of_limit"] =
      Counter(100 * gigabytes / limit, Counter::kIsIterationInvariantRate);
}

}  // namespace mettle::bench
