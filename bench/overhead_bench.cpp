// What one small operation costs when the arithmetic is nothing: forward alone, recorded, recorded
// and differentiated, and per operation of a chain of 100.
//
//   OMP_NUM_THREADS=1 overhead_bench --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <vector>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "bench/add_all.h"

namespace mettle::bench {
namespace {

Variable constant(std::int64_t n, double value, bool requires_grad) {
  return Variable(full({n}, value).value(), requires_grad);
}

using Operation = Variable (*)(const Variable& a, const Variable& b);

void forward(benchmark::State& state, Operation operation, bool recorded) {
  const Variable a = constant(state.range(0), 0.5, recorded),
                 b = constant(state.range(0), 2, false);
  for (auto _ : state) benchmark::DoNotOptimize(operation(a, b));
}

void differentiated(benchmark::State& state, Operation operation) {
  const Variable a = constant(state.range(0), 0.5, true), b = constant(state.range(0), 2, false);
  const std::vector<Variable> inputs{a};
  const GradOptions options{.grad_outputs = {constant(state.range(0), 1, false)}};
  for (auto _ : state) {
    const Variable y = operation(a, b);
    benchmark::DoNotOptimize(grad(y, inputs, options));
  }
}

/// Reports the time of one of the 100 operations.
void chain(benchmark::State& state, Operation operation) {
  constexpr int length = 100;
  const Variable a = constant(state.range(0), 0.5, true), b = constant(state.range(0), 1, false);
  const std::vector<Variable> inputs{a};
  const GradOptions options{.grad_outputs = {constant(state.range(0), 1, false)}};
  for (auto _ : state) {
    Variable y = a;
    for (int i = 0; i < length; ++i) y = operation(y, b);
    benchmark::DoNotOptimize(grad(y, inputs, options));
  }
  state.counters["per_operation"] = benchmark::Counter(
      length, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

/// The derivative of the derivative of x^3.
void second_order(benchmark::State& state) {
  const Variable x = constant(state.range(0), 0.5, true);
  const std::vector<Variable> inputs{x};
  for (auto _ : state) {
    const Variable first = grad(sum(x * x * x), inputs, {.create_graph = true})[0];
    benchmark::DoNotOptimize(grad(sum(first), inputs));
  }
}

template <class F, class... A>
void add(const char* name, std::initializer_list<std::int64_t> sizes, F f, A... arguments) {
  auto* row = benchmark::RegisterBenchmark(name, f, arguments...);
  for (const std::int64_t n : sizes) row->Arg(n);
  row->Unit(benchmark::kNanosecond);
}

}  // namespace

void add_all() {
  const Operation plus = mettle::add, times = mettle::mul;
  const auto sizes = {std::int64_t{1}, std::int64_t{16}, std::int64_t{256}};
  add("add/forward", sizes, forward, plus, false);
  add("add/recorded", sizes, forward, plus, true);
  add("add/differentiated", sizes, differentiated, plus);
  add("add/chain_of_100", sizes, chain, plus);
  add("mul/forward", sizes, forward, times, false);
  add("mul/recorded", sizes, forward, times, true);
  add("mul/differentiated", sizes, differentiated, times);
  add("mul/chain_of_100", sizes, chain, times);
  add("cube/second_derivative", {8}, second_order);
}

}  // namespace mettle::bench
