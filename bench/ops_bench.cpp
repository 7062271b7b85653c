// Operations as a program calls them, with their outputs allocated and their gradients taken: the
// rows that bench/peers measures in another engine under the same names.
//
//   ops_bench --benchmark_filter=attention        bench/compare.py runs both sides
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "bench/add_all.h"
#include "models/optimizer.h"

namespace mettle::bench {
namespace {

/// Normal numbers; equal calls in one run give different ones.
Variable random(const Shape& shape, bool requires_grad = true) {
  static Generator generator(1);
  return Variable(normal(shape, generator.next_key()).value(), requires_grad);
}

void add(const std::string& name, std::function<void()> step) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [step = std::move(step)](benchmark::State& state) {
                                 step();
                                 for (auto _ : state) step();
                               })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

using Make = std::function<Variables()>;
using Apply = std::function<Variable(const Variables&)>;

/// One row: the operands are made when the row runs, so that rows do not share caches or memory.
void add_forward(const std::string& name, const Make& make, const Apply& apply) {
  benchmark::RegisterBenchmark((name + "/forward").c_str(),
                               [=](benchmark::State& state) {
                                 const NoGrad off;
                                 const Variables operands = make();
                                 benchmark::DoNotOptimize(apply(operands));
                                 for (auto _ : state) benchmark::DoNotOptimize(apply(operands));
                               })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

/// Forward, then the gradient of every operand that requires one for a fixed cotangent.
void add_backward(const std::string& name, const Make& make, const Apply& apply) {
  benchmark::RegisterBenchmark(
      (name + "/forward_backward").c_str(),
      [=](benchmark::State& state) {
        const Variables operands = make();
        Variables inputs;
        for (const Variable& x : operands)
          if (x.requires_grad()) inputs.push_back(x);
        const Variable y = apply(operands);
        const GradOptions options{
            .grad_outputs = {y.rank() == 0 ? full({}, 1.0) : random(y.shape(), false)}};
        const auto step = [&] { benchmark::DoNotOptimize(grad(apply(operands), inputs, options)); };
        step();
        for (auto _ : state) step();
      })
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

void add_both(const std::string& name, const Make& make, const Apply& apply) {
  add_forward(name, make, apply);
  add_backward(name, make, apply);
}

void add_small() {
  const Variable a = random({8}), b = random({8}, false), one = full({8}, 1.0);
  const Variables inputs{a};
  const GradOptions options{.grad_outputs = {one}};
  add("small/add/forward", [=] {
    const NoGrad off;
    benchmark::DoNotOptimize(a + b);
  });
  add("small/add/forward_backward",
      [=] { benchmark::DoNotOptimize(grad(a + b, inputs, options)); });
  add("small/add/chain_of_100", [=] {
    Variable y = a;
    for (int i = 0; i < 100; ++i) y = y + b;
    benchmark::DoNotOptimize(grad(y, inputs, options));
  });
  add("small/cube/second_derivative", [=] {
    const Variable first = grad(sum(a * a * a), inputs, {.create_graph = true})[0];
    benchmark::DoNotOptimize(grad(sum(first), inputs));
  });
}

void add_memory_bound() {
  add_both(
      "layer_norm/4096x768",
      [] {
        return Variables{random({4096, 768}), random({768}), random({768})};
      },
      [](const Variables& v) { return layer_norm(v[0], v[1], v[2]); });
  const Make wide = [] { return Variables{random({4096, 3072})}; };
  add_both("gelu_erf/4096x3072", wide,
           [](const Variables& v) { return gelu(v[0], GeluForm::erf); });
  add_both("gelu_tanh/4096x3072", wide,
           [](const Variables& v) { return gelu(v[0], GeluForm::tanh); });
  const Make narrow = [] { return Variables{random({4096, 768})}; };
  add_both("dropout/4096x768", narrow, [](const Variables& v) {
    return dropout(v[0], 0.1, {3, 5});
  });
  add_both("tanh/4096x768", narrow, [](const Variables& v) { return tanh(v[0]); });
  add_both("exp/4096x768", narrow, [](const Variables& v) { return exp(v[0]); });
  add_both(
      "bce_with_logits/1M",
      [] {
        return Variables{random({1000000}),
                         cast(greater(random({1000000}, false), full({}, 0.0)), DType::f32)};
      },
      [](const Variables& v) { return bce_with_logits(v[0], v[1]); });
}

void add_attention(std::int64_t length) {
  add_both(
      "attention/B8_H12_D64_N" + std::to_string(length),
      [length] {
        const Shape shape{8, 12, length, 64};
        return Variables{random(shape), random(shape), random(shape)};
      },
      [](const Variables& v) { return attention(v[0], v[1], v[2]); });
}

void add_embedding() {
  add_both(
      "embedding/1024_of_30522x768",
      [] {
        return Variables{random({30522, 768}),
                         cast(uniform({8, 128}, {1, 2}, 0.0, 30522.0), DType::i64)};
      },
      [](const Variables& v) { return embedding(v[0], v[1]); });
}

/// The weights of a small BERT, 24.4 million.
void adamw(benchmark::State& state) {
  Params params;
  const auto add_weights = [&](int count, const Shape& shape) {
    for (int i = 0; i < count; ++i) params.add("w" + std::to_string(params.size()), random(shape));
  };
  add_weights(12, {384, 1536});
  add_weights(12, {1536, 384});
  add_weights(24, {384, 384});
  add_weights(1, {17522, 384});
  Variables gradients;
  for (const Variable& w : params.values()) gradients.push_back(random(w.shape(), false));
  AdamW optimizer(params, {.weight_decay = 0.01});
  optimizer.step(params.values(), gradients, 1e-4);
  for (auto _ : state) optimizer.step(params.values(), gradients, 1e-4);
}

}  // namespace

void add_all() {
  add_small();
  add_memory_bound();
  add_attention(128);
  add_attention(512);
  add_embedding();
  benchmark::RegisterBenchmark("adamw/24.4M", adamw)->Unit(benchmark::kMicrosecond)->UseRealTime();
}

}  // namespace mettle::bench
