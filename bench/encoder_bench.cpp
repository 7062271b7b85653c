// The encoder of MiniLM-L6 (6 layers, width 384, 12 heads, 1536 hidden) on a batch of 8 sequences
// of 128 tokens: the pass that computes embeddings, and a step of training without its optimizer.
//
//   OMP_NUM_THREADS=2 OMP_PROC_BIND=true encoder_bench --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "bench/add_all.h"
#include "models/encoder.h"

namespace mettle::bench {
namespace {

struct Task {
  static constexpr std::int64_t batch = 8, tokens = 128;
  static EncoderOptions shape() {
    EncoderOptions options{.dim = 384, .layers = 6, .heads = 12, .hidden = 1536};
    options.norm = EncoderOptions::Norm::after;
    return options;
  }

  Encoder encoder{"encoder", shape()};
  Params params;
  Variable x = normal({batch, tokens, shape().dim}, {1, 2});

  Task() {
    Generator random(1);
    encoder.init(params, random);
  }
};

void encoder_forward(benchmark::State& state) {
  const Task task;
  const NoGrad off;
  for (auto _ : state) benchmark::DoNotOptimize(task.encoder(task.params, task.x));
}

void encoder_step(benchmark::State& state) {
  const Task task;
  for (auto _ : state)
    benchmark::DoNotOptimize(
        grad(sum(square(task.encoder(task.params, task.x))), task.params.values()));
}

}  // namespace

void add_all() {
  const auto add = [](const char* name, void (*run)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, run)->Unit(benchmark::kMillisecond)->UseRealTime();
  };
  add("encoder_forward", encoder_forward);
  add("encoder_step", encoder_step);
}

}  // namespace mettle::bench
