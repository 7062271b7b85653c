// What a training step does beside the model: optimizer steps over the parameters of a small BERT
// (24.4 M numbers), the norm of its gradients, and softmax cross-entropy over its vocabulary. With
// the share of what a copy or triad reaches in this process.
//
//   OMP_NUM_THREADS=2 training_bench --benchmark_filter=adam --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include "autograd/fused.h"
#include "autograd/grad.h"
#include "autograd/ops.h"
#include "bench/memory_bound.h"
#include "kernels/cross_entropy.h"
#include "kernels/optimizer.h"

namespace mettle::bench {
namespace {

using namespace kernels;

// ----------------------------------------------------------------------------------------
// optimizers

/// One tensor of all parameters, or `pieces` equal ones.
struct Model {
  static constexpr std::int64_t numbers = 24'400'000;
  Tensor param = random_tensor({numbers}, 1), grad = random_tensor({numbers}, 2);
  Tensor m = Tensor::zeros({numbers}), v = Tensor::zeros({numbers});

  template <class Item, class Make> std::vector<Item> list(std::int64_t pieces, Make make) const {
    std::vector<Item> items;
    for (std::int64_t i = 0; i < pieces; ++i)
      items.push_back(make(numbers / pieces * i, numbers / pieces));
    return items;
  }
  static void* at(const Tensor& t, std::int64_t first) { return t.data<float>() + first; }
};

void adamw(benchmark::State& state) {
  const Model model;
  auto tensors =
      model.list<AdamTensor>(state.range(0), [&](std::int64_t first, std::int64_t n) -> AdamTensor {
        return {Model::at(model.param, first),
                Model::at(model.grad, first),
                Model::at(model.m, first),
                Model::at(model.v, first),
                n,
                1,
                1e-3,
                0,
                0.01};
      });
  // Each of param, m and v is read and written.
  measure(state, {model.param, model.param, model.grad, model.m, model.m, model.v, model.v}, [&] {
    adam_step({}, {DType::f32, tensors.data(), std::ssize(tensors)});
    for (AdamTensor& t : tensors) ++t.step;
  });
}

void sgd_momentum(benchmark::State& state) {
  const Model model;
  const auto tensors =
      model.list<SgdTensor>(state.range(0), [&](std::int64_t first, std::int64_t n) -> SgdTensor {
        return {Model::at(model.param, first), Model::at(model.grad, first),
                Model::at(model.m, first), n, 1e-3};
      });
  measure(state, {model.param, model.param, model.grad, model.m, model.m}, [&] {
    sgd_step({}, {DType::f32, tensors.data(), std::ssize(tensors), 0.9});
  });
}

void gradient_norm(benchmark::State& state) {
  const Model model;
  const auto tensors =
      model.list<NormTensor>(state.range(0), [&](std::int64_t first, std::int64_t n) -> NormTensor {
        return {Model::at(model.grad, first), n};
      });
  double norm = 0;
  measure(state, {model.grad}, [&] {
    global_norm({}, {DType::f32, tensors.data(), std::ssize(tensors), &norm});
  });
}

// -------------------------------------------------------------------------------------
// cross-entropy

constexpr std::int64_t rows = 1024, vocabulary = 30522;

Tensor target_ids() {
  Tensor ids = Tensor::empty({rows}, DType::i64);
  for (std::int64_t i = 0; i < rows; ++i) ids.data<std::int64_t>()[i] = i * 7919 % vocabulary;
  return ids;
}

/// The kernels, one after the other: logits read twice, their gradient written.
void cross_entropy_kernels(benchmark::State& state) {
  const Tensor z = random_tensor({rows, vocabulary}, 1), target = target_ids();
  const Tensor dz = Tensor::zeros({rows, vocabulary}), statistics = Tensor::zeros({3, rows});
  const Tensor dloss = random_tensor({rows}, 2);
  float* s = statistics.data<float>();
  const CrossEntropyRows of{DType::f32, DType::i64, rows,     vocabulary,
                            -100,       0,          z.data(), target.data()};
  measure(state, {z, z, dz}, [&] {
    cross_entropy_forward({}, {of, s, s + rows, s + 2 * rows});
    cross_entropy_backward({}, {of, s + rows, s + 2 * rows, dloss.data(), dz.data()});
  });
}

/// The operation with its recording, as a training step calls it.
void cross_entropy_operation(benchmark::State& state) {
  const Variable z(random_tensor({rows, vocabulary}, 1), true), target(target_ids());
  measure(state, {z.value(), z.value(), z.value()}, [&] { grad(cross_entropy(z, target), {z}); });
}

/// From hidden states of width 256: the chunked form against product and operation.
void linear_cross_entropy_operation(benchmark::State& state, bool chunked) {
  const Variable x(random_tensor({rows, 256}, 1), true), target(target_ids());
  const Variable w(random_tensor({vocabulary, 256}, 2), true);
  for (auto _ : state) {
    const Variable loss = chunked ? linear_cross_entropy(x, w, {}, target)
                                  : cross_entropy(matmul(x, transpose(w, 0, 1)), target);
    grad(loss, {x, w});
  }
}

BENCHMARK(adamw)->Arg(1)->Arg(100)->Unit(benchmark::kMillisecond)->Apply(clock_of_the_probe);
BENCHMARK(sgd_momentum)->Arg(1)->Unit(benchmark::kMillisecond)->Apply(clock_of_the_probe);
BENCHMARK(gradient_norm)->Arg(1)->Unit(benchmark::kMillisecond)->Apply(clock_of_the_probe);
BENCHMARK(cross_entropy_kernels)->Unit(benchmark::kMillisecond)->Apply(clock_of_the_probe);
BENCHMARK(cross_entropy_operation)->Unit(benchmark::kMillisecond)->Apply(clock_of_the_probe);
BENCHMARK_CAPTURE(linear_cross_entropy_operation, chunked, true)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(linear_cross_entropy_operation, whole, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace mettle::bench

BENCHMARK_MAIN();
