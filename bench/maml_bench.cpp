// A meta-step of second-order MAML from support and query batch to the gradient of the initial
// weights: time, GFLOP/s and the share of the FMA peak that a probe finds in this process, and the
// peak of memory in use. The sizes are those of bench/peers' torch_maml.py.
//
//   maml_bench --benchmark_filter=mlp/second        OMP_NUM_THREADS=1 for one thread
//
// FLOP are counted by the mathematics (of second order, with F one forward pass over all
// tasks and K inner steps): 3 (K + 1) F for first order, 6 K F more for second, and K F more when
// the steps are recomputed.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include "autograd/ops.h"
#include "bench/add_all.h"
#include "bench/fma_probe.h"
#include "engine/allocator.h"
#include "engine/parallel.h"
#include "models/encoder.h"
#include "models/meta.h"

namespace mettle::bench {
namespace {

/// A problem for meta-learning: T tasks in groups, and the count of multiply-adds.
struct Problem {
  Params params = {};
  std::vector<TaskGroup> groups = {};
  std::int64_t group_tasks = 1;
  double forward_flop = 0.0;  // of all tasks
};

/// A multilayer perceptron 64-64-64-1 with tanh on 32 regression tasks of 16 examples.
Problem mlp(int groups) {
  constexpr std::int64_t tasks = 32, examples = 16, width = 64;
  const Linear first("first", width, width), second("second", width, width), head("head", width, 1);
  Problem problem{.group_tasks = tasks / groups,
                  .forward_flop = 2.0 * tasks * examples * (2 * width * width + width)};
  Generator random(2);
  for (const Linear& layer : {first, second, head}) layer.init(problem.params, random);
  const auto loss_on = [=](const Variable& x, const Variable& y) -> LossFunction {
    return [=](const Params& p) {
      const Variable z = head(p, tanh(second(p, tanh(first(p, x)))));
      return mul(sum(square(sub(z, y))), 1.0 / examples);
    };
  };
  const auto data = [&](std::int64_t columns) {
    return normal({problem.group_tasks, examples, columns}, random.next_key());
  };
  for (int i = 0; i < groups; ++i)
    problem.groups.push_back({loss_on(data(width), data(1)), loss_on(data(width), data(1))});
  return problem;
}

/// A BERT-style encoder, 2 layers of width 64 with 2 heads over 20 tokens of a vocabulary of 1000,
/// on 4 classification tasks of 16 examples.
Problem encoder(int groups) {
  constexpr std::int64_t tasks = 4, examples = 16, tokens = 20, dim = 64, layers = 2, words = 1000;
  const Embedding table("words", words, dim), positions("positions", tokens, dim);
  const Encoder body("encoder", {.dim = dim,
                                 .layers = layers,
                                 .heads = 2,
                                 .hidden = 4 * dim,
                                 .norm = EncoderOptions::Norm::after});
  const Linear head("head", dim, 1);
  const double rows = tasks * examples * tokens;
  Problem problem{.group_tasks = tasks / groups,
                  .forward_flop = rows * layers * (2.0 * 12 * dim * dim + 4.0 * tokens * dim)};
  Generator random(2);
  table.init(problem.params, random);
  positions.init(problem.params, random);
  body.init(problem.params, random);
  head.init(problem.params, random);
  const auto loss_on = [=](const Variable& ids, const Variable& y) -> LossFunction {
    return [=](const Params& p) {
      const Variable& place = p["positions.table"];
      const Variable x = table(p, ids) + (place.rank() == 3 ? unsqueeze(place, 1) : place);
      const Variable logits = reshape(head(p, mean(body(p, x), {-2})), y.shape());
      return mul(bce_with_logits(logits, y, {.reduction = Reduction::sum}), 1.0 / examples);
    };
  };
  const auto ids = [&] {
    return cast(uniform({problem.group_tasks, examples, tokens}, random.next_key(), 0, words),
                DType::i64);
  };
  const auto likes = [&] {
    return cast(uniform({problem.group_tasks, examples}, random.next_key(), 0, 2), DType::i64);
  };
  for (int i = 0; i < groups; ++i)
    problem.groups.push_back(
        {loss_on(ids(), cast(likes(), DType::f32)), loss_on(ids(), cast(likes(), DType::f32))});
  return problem;
}

void run(benchmark::State& state, Problem (*make)(int groups), int groups, AdaptOptions options) {
  static const double peak = fma_gflops();
  const Problem problem = make(groups);
  const Params rates = inner_rates(problem.params, 0.01);
  options.tasks = problem.group_tasks;
  Allocator& memory = allocator(Device::cpu());
  const std::size_t before = memory.stats().live_bytes;
  const auto step = [&] {
    const MetaGradient g = meta_gradient(problem.params, rates, problem.groups, options);
    benchmark::DoNotOptimize(g.loss.item());
  };
  step();  // fills the allocator's cache and the products' primitives
  for (auto _ : state) step();
  const std::size_t high = memory.stats().peak_live_bytes;
  const double steps = options.steps;
  double passes = 3 * (steps + 1);
  if (options.order == MetaOrder::second) passes += 6 * steps;
  if (options.memory == MetaMemory::recomputed) passes += steps;
  const double gflop =
      1e-9 * passes * problem.forward_flop * static_cast<double>(state.iterations());
  state.counters["GF/s"] = benchmark::Counter(gflop, benchmark::Counter::kIsRate);
  state.counters["peak_GF/s"] = peak * threads();
  state.counters["peak_MiB"] = static_cast<double>(high - before) / (1 << 20);
}

void add(const char* name, Problem (*make)(int groups), int groups, const AdaptOptions& options) {
  const std::string label =
      fmt::format("{}/{}{}/K{}", name, options.order == MetaOrder::second ? "second" : "first",
                  options.memory == MetaMemory::recomputed ? "_recomputed" : "", options.steps);
  benchmark::RegisterBenchmark(label.c_str(), run, make, groups, options)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

void add_all() {
  const AdaptOptions variants[] = {
      {.steps = 1, .order = MetaOrder::first},
      {.steps = 5, .order = MetaOrder::first},
      {.steps = 1},
      {.steps = 5},
      {.steps = 5, .memory = MetaMemory::recomputed},
  };
  // Two groups of tasks, each on one thread; "whole": all tasks in one batch, whose kernels share
  // the threads.
  for (const AdaptOptions& options : variants) add("mlp", mlp, 2, options);
  for (const AdaptOptions& options : variants) add("encoder", encoder, 2, options);
  add("mlp_whole", mlp, 1, {.steps = 5});
  add("encoder_whole", encoder, 1, {.steps = 5});
}

}  // namespace mettle::bench
