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

/// measure() keeps the time: elapsed, or processor time with one thread.
inline void clock_of_the_probe(benchmark::internal::Benchmark* row) { row->UseManualTime(); }

/// Repeats `step`, which reads or writes each of `moved` once, and reports the rate beside the
/// probe's, whose passes lie between the repetitions: so both see the same neighbours.
template <class Step>
void measure(benchmark::State& state, std::initializer_list<Tensor> moved, const Step& step) {
  constexpr double between_passes = 0.03;  // seconds
  static MemoryProbe probe;
  std::size_t bytes = 0;
  for (const Tensor& t : moved) bytes += t.bytes();
  step();
  probe.pass();  // the first after other work is slow
  probe.restart();
  double since_pass = between_passes;
  for (auto _ : state) {
    if (since_pass >= between_passes) {
      probe.pass();
      since_pass = 0;
    }
    const double begin = clock_seconds();
    step();
    const double seconds = clock_seconds() - begin;
    state.SetIterationTime(seconds);
    since_pass += seconds;
  }
  using benchmark::Counter;
  const double gigabytes = 1e-9 * static_cast<double>(bytes);
  state.counters["GB/s"] = Counter(gigabytes, Counter::kIsIterationInvariantRate);
  state.counters["limit_GB/s"] = probe.rate();
  state.counters["%_of_limit"] =
      Counter(100 * gigabytes / probe.rate(), Counter::kIsIterationInvariantRate);
}

}  // namespace mettle::bench
