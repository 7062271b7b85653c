// BERT encoders of published sizes: a forward pass as in evaluation, and a training step (forward,
// gradients of all weights, AdamW): time, GFLOP/s and the share of the FMA peak that a probe finds
// in this process, and the peak of memory in use. The rows are those of bench/peers' torch_bert.py.
//
//   bert_bench --benchmark_filter=minilm        OMP_NUM_THREADS=1 for one thread
//
// FLOP are counted by the mathematics: 2 (12 D^2 + 2 N D) a token and layer with hidden = 4 D,
// forward; three times as many for a training step.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <optional>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "bench/add_all.h"
#include "bench/fma_probe.h"
#include "engine/allocator.h"
#include "engine/parallel.h"
#include "models/bert.h"
#include "models/optimizer.h"

namespace mettle::bench {
namespace {

struct Size {
  const char* name;
  std::int64_t dim, layers, heads;
};
constexpr Size sizes[] = {{"minilm", 384, 6, 12}, {"base", 768, 12, 12}};
enum class Pass { forward, train };
constexpr std::int64_t batch = 8, tokens = 128;

BertOptions options_of(const Size& size) {
  BertOptions options;
  options.encoder.dim = size.dim;
  options.encoder.layers = size.layers;
  options.encoder.heads = size.heads;
  options.encoder.hidden = 4 * size.dim;
  return options;
}

double forward_gflop(const Size& size) {
  const auto dim = static_cast<double>(size.dim);
  const auto n = static_cast<double>(tokens);
  return 1e-9 * static_cast<double>(batch * tokens * size.layers) *
         (24.0 * dim * dim + 4.0 * n * dim);
}

void run(benchmark::State& state, const Size& size, Pass pass) {
  static const double peak = fma_gflops();
  const Bert bert(options_of(size));
  Params params;
  Generator random(1);
  bert.init(params, random);
  const Variable ids = randint({batch, tokens}, random.next_key(), 1, bert.options().vocabulary);
  const Variable cotangent = normal({batch, tokens, size.dim}, random.next_key());
  std::optional<AdamW> optimizer;  // its moments are twice the weights
  if (pass == Pass::train)
    optimizer.emplace(params, AdamOptions{.weight_decay = 0.01}, decay_matrices_only);
  const auto forward = [&] {
    const NoGrad no_grad;
    benchmark::DoNotOptimize(bert(params, {.ids = ids}).value().data());
  };
  // Only the pooler does not take part.
  const auto train = [&] {
    const Variable loss = sum(mul(bert(params, {.ids = ids}), cotangent));
    optimizer->step(params.values(), grad({loss}, params.values(), {.allow_unused = true}), 1e-5);
  };
  Allocator& memory = allocator(Device::cpu());
  const std::size_t before = memory.stats().live_bytes;
  const auto step = [&] { pass == Pass::train ? train() : forward(); };
  step();  // fills the allocator's cache and the products' primitives
  for (auto _ : state) step();
  const double gflop = (pass == Pass::train ? 3 : 1) * forward_gflop(size);
  state.counters["GF/s"] = benchmark::Counter(gflop * static_cast<double>(state.iterations()),
                                              benchmark::Counter::kIsRate);
  state.counters["peak_GF/s"] = peak * threads();
  state.counters["peak_MiB"] =
      static_cast<double>(memory.stats().peak_live_bytes - before) / (1 << 20);
}

}  // namespace

void add_all() {
  for (const Size& size : sizes)
    for (const Pass pass : {Pass::forward, Pass::train})
      benchmark::RegisterBenchmark(
          fmt::format("{}/{}/B{}/N{}", size.name, pass == Pass::train ? "train" : "forward", batch,
                      tokens)
              .c_str(),
          run, size, pass)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
}

}  // namespace mettle::bench
