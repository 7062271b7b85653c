// Kernels on the first GPU: time by the device's events, the bytes that the mathematics must move
// and the FLOP that it takes, and the share of what two probes reach in this process: a copy for
// memory, a bf16 product for the matrix units. The larger of the two times is the limit.
//
//   gpu_bench --benchmark_filter=attention --benchmark_format=json
//
// Operands are random numbers: zeros would let the matrix units run faster than they do on data.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "bench/add_all.h"
#include "engine/cuda_driver.h"
#include "engine/exec.h"
#include "engine/tensor.h"
#include "kernels/attention.h"
#include "kernels/bce_with_logits.h"
#include "kernels/bias_gelu.h"
#include "kernels/copy.h"
#include "kernels/cross_entropy.h"
#include "kernels/dropout.h"
#include "kernels/layer_norm.h"
#include "kernels/matmul.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"

namespace mettle::bench {
namespace {

using namespace kernels;

const Device gpu = Device::cuda(0);

Tensor random_on_gpu(const Shape& shape, DType dtype, unsigned seed) {
  const Tensor t = Tensor::empty(shape, dtype, gpu);
  random_fill(current_stream(gpu),
              {Distribution::uniform, dtype, t.data(), t.numel(), {seed, 0}, -2.0, 2.0});
  return t;
}
Tensor empty_on_gpu(const Shape& shape, DType dtype) { return Tensor::empty(shape, dtype, gpu); }

/// Seconds of one call, from `calls` of them in a row.
double seconds_of(const std::function<void()>& run, int calls) {
  const Stream stream = current_stream(gpu);
  Event begin(gpu), end(gpu);
  begin.record(stream);
  for (int i = 0; i < calls; ++i) run();
  end.record(stream);
  end.synchronize();
  return end.milliseconds_since(begin) * 1e-3 / calls;
}

double median_seconds(const std::function<void()>& run, int calls, int repetitions) {
  std::vector<double> times;
  run();
  for (int i = 0; i < repetitions; ++i) times.push_back(seconds_of(run, calls));
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return times[static_cast<std::size_t>(repetitions) / 2];
}

struct Probes {
  double bytes_per_second;
  double flop_per_second;
};

// Measured once: a copy of 1 GiB counts what it reads and writes.
const Probes& probes() {
  static const Probes found = [] {
    const std::int64_t n = std::int64_t{1} << 28;
    const Tensor x = random_on_gpu({n}, DType::f32, 1), y = empty_on_gpu({n}, DType::f32);
    const double copy = median_seconds(
        [&] { cuda_driver().copy(y.data(), x.data(), x.bytes(), current_stream(gpu)); }, 5, 9);
    const std::int64_t m = 8192;
    const Tensor a = random_on_gpu({m, m}, DType::bf16, 2),
                 b = random_on_gpu({m, m}, DType::bf16, 3), c = empty_on_gpu({m, m}, DType::bf16);
    const double product = median_seconds(
        [&] {
          matmul(current_stream(gpu),
                 {DType::bf16, m, m, m, a.data(), b.data(), c.data(), m, 1, m, 1, {}, {}, {}});
        },
        3, 9);
    const double size = static_cast<double>(m);
    return Probes{2 * static_cast<double>(x.bytes()) / copy, 2 * size * size * size / product};
  }();
  return found;
}

/// Repeats `run` and reports what it reaches.
void measure(benchmark::State& state, double bytes, double flop, const std::function<void()>& run) {
  const Probes& limit = probes();
  run();
  const double once = seconds_of(run, 1);
  const int calls =
      std::clamp(static_cast<int>(2e-3 / once), 1, 200);  // at least 2 ms between events
  for (auto _ : state) state.SetIterationTime(seconds_of(run, calls));
  synchronize(gpu);
  using benchmark::Counter;
  const double least = std::max(bytes / limit.bytes_per_second, flop / limit.flop_per_second);
  state.counters["%_of_limit"] = Counter(100 * least, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(1e-9 * bytes, Counter::kIsIterationInvariantRate);
  state.counters["TFLOP/s"] = Counter(1e-12 * flop, Counter::kIsIterationInvariantRate);
  state.counters["probe_GB/s"] = 1e-9 * limit.bytes_per_second;
  state.counters["probe_TFLOP/s"] = 1e-12 * limit.flop_per_second;
}

double bytes_of(std::initializer_list<Tensor> tensors) {
  double sum = 0;
  for (const Tensor& t : tensors) sum += static_cast<double>(t.bytes());
  return sum;
}

void add(const std::string& name, const std::function<void(benchmark::State&)>& row) {
  benchmark::RegisterBenchmark(name.c_str(), row)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

// ---- attention ----------------------------------------------------------------------------------
struct AttentionSize {
  DType dtype;
  std::int64_t batch, heads, length, dim;
  bool causal;
};

/// (B, N, H, D) operands, as a projection leaves them.
struct AttentionOperands {
  explicit AttentionOperands(const AttentionSize& s)
      : lse(empty_on_gpu({s.batch, s.heads, s.length},
                         s.dtype == DType::f64 ? DType::f64 : DType::f32)),
        row(s.heads * s.dim),
        size(s) {
    problem.dtype = s.dtype;
    problem.batch = s.batch;
    problem.heads = s.heads;
    problem.queries = problem.keys = s.length;
    problem.head_dim = problem.value_dim = s.dim;
    problem.scale = 1 / std::sqrt(static_cast<double>(s.dim));
    problem.causal = s.causal;
    for (unsigned i = 0; i < 15; ++i)
      tensors.push_back(random_on_gpu({s.batch, s.length, s.heads, s.dim}, s.dtype, i));
  }
  AttentionOut out(std::size_t i) const {
    return {tensors[i].data(), size.length * row, size.dim, row};
  }
  AttentionIn in(std::size_t i) const {
    const AttentionOut o = out(i);
    return {o.data, o.batch, o.head, o.row};
  }
  void forward() const {
    attention_forward(current_stream(gpu), {problem, in(0), in(1), in(2), out(3), lse.data()});
  }
  void backward() const {
    attention_backward(current_stream(gpu), {problem, in(0), in(1), in(2), in(3), lse.data(), in(4),
                                             out(5), out(6), out(7)});
  }
  void jvp() const {
    attention_jvp(current_stream(gpu),
                  {problem, in(0), in(1), in(2), in(3), lse.data(), in(8), in(9), in(10), out(14)});
  }
  void double_backward() const {
    attention_double_backward(current_stream(gpu),
                              {problem, in(0), in(1), in(2), in(3), lse.data(), in(4), in(8), in(9),
                               in(10), out(11), out(12), out(13), out(14)});
  }

  AttentionProblem problem;
  Tensor lse;
  std::int64_t row;
  AttentionSize size;
  std::vector<Tensor> tensors;
};

// Products of 2 N^2 D FLOP: 2 forward, 5 tangent, 5 backward, 15 double backward, whatever the
// kernel does.
void add_attention(const AttentionSize& s) {
  const std::string at = fmt::format("{}/B{}/H{}/N{}/D{}{}", to_string(s.dtype), s.batch, s.heads,
                                     s.length, s.dim, s.causal ? "/causal" : "");
  const double product = 2.0 * static_cast<double>(s.batch * s.heads) *
                         static_cast<double>(s.length * s.length) * static_cast<double>(s.dim) *
                         (s.causal ? 0.5 : 1.0);
  const double tensor = static_cast<double>(s.batch * s.heads * s.length * s.dim) *
                        static_cast<double>(size_of(s.dtype));
  add("attention_forward/" + at, [=](benchmark::State& state) {
    const AttentionOperands o(s);
    measure(state, 4 * tensor, 2 * product, [&] { o.forward(); });
  });
  add("attention_jvp/" + at, [=](benchmark::State& state) {
    const AttentionOperands o(s);
    o.forward();
    measure(state, 8 * tensor, 5 * product, [&] { o.jvp(); });
  });
  add("attention_backward/" + at, [=](benchmark::State& state) {
    const AttentionOperands o(s);
    o.forward();
    measure(state, 8 * tensor, 5 * product, [&] { o.backward(); });
  });
  add("attention_double_backward/" + at, [=](benchmark::State& state) {
    const AttentionOperands o(s);
    o.forward();
    measure(state, 12 * tensor, 15 * product, [&] { o.double_backward(); });
  });
}

// ---- bound by memory ----------------------------------------------------------------------------
constexpr std::int64_t rows = 131072, width = 768;  // 201 MB in bf16: four times the L2 cache

void add_layer_norm(DType dtype) {
  const auto operands = [=] {
    std::vector<Tensor> t;
    for (unsigned i = 0; i < 3; ++i) t.push_back(random_on_gpu({rows, width}, dtype, i));
    for (unsigned i = 0; i < 2; ++i) t.push_back(empty_on_gpu({rows, width}, dtype));
    for (unsigned i = 0; i < 6; ++i) t.push_back(random_on_gpu({width}, dtype, 9 + i));
    for (unsigned i = 0; i < 2; ++i) t.push_back(empty_on_gpu({rows}, DType::f32));
    layer_norm_forward(current_stream(gpu), {dtype, rows, width, 1, 1e-5, t[0].data(), t[5].data(),
                                             t[6].data(), t[3].data(), t[11].data(), t[12].data()});
    return t;
  };
  const std::string at = fmt::format("{}/{}x{}", to_string(dtype), rows, width);
  add("layer_norm_forward/" + at, [=](benchmark::State& state) {
    const std::vector<Tensor> t = operands();
    measure(state, bytes_of({t[0], t[3], t[11], t[12]}), 0, [&] {
      layer_norm_forward(current_stream(gpu),
                         {dtype, rows, width, 1, 1e-5, t[0].data(), t[5].data(), t[6].data(),
                          t[3].data(), t[11].data(), t[12].data()});
    });
  });
  add("layer_norm_backward/" + at, [=](benchmark::State& state) {
    const std::vector<Tensor> t = operands();
    measure(state, bytes_of({t[0], t[1], t[3], t[11], t[12]}), 0, [&] {
      layer_norm_backward(current_stream(gpu),
                          {dtype, rows, width, 1, t[0].data(), t[5].data(), t[11].data(),
                           t[12].data(), t[1].data(), t[3].data(), t[9].data(), t[10].data()});
    });
  });
  add("layer_norm_double_backward/" + at, [=](benchmark::State& state) {
    const std::vector<Tensor> t = operands();
    measure(state, bytes_of({t[0], t[1], t[2], t[3], t[4], t[11], t[12]}), 0, [&] {
      layer_norm_double_backward(
          current_stream(gpu),
          {dtype, rows, width, 1, t[0].data(), t[5].data(), t[11].data(), t[12].data(), t[1].data(),
           t[2].data(), t[7].data(), t[8].data(), t[3].data(), t[9].data(), t[4].data()});
    });
  });
}

void add_losses(DType dtype) {
  const std::int64_t n = std::int64_t{1} << 27;
  add(fmt::format("bce_forward_and_gradient/{}/{}", to_string(dtype), n),
      [=](benchmark::State& state) {
        const Tensor x = random_on_gpu({n}, dtype, 1), dx = empty_on_gpu({n}, dtype);
        const Tensor target = empty_on_gpu({n}, dtype), loss = empty_on_gpu({1}, DType::f32);
        random_fill(current_stream(gpu),
                    {Distribution::uniform, dtype, target.data(), n, {2, 0}, 0.0, 1.0});
        measure(state, bytes_of({x, target, dx}), 0, [&] {
          bce_with_logits_forward(current_stream(gpu),
                                  {dtype, Reduction::mean, n, 1, x.data(), target.data(), nullptr,
                                   loss.data(), dx.data()});
        });
      });
  const std::int64_t tokens = 8192, classes = 30522;
  add(fmt::format("cross_entropy_forward_and_backward/{}/{}x{}", to_string(dtype), tokens, classes),
      [=](benchmark::State& state) {
        const Tensor logits = random_on_gpu({tokens, classes}, dtype, 1);
        const Tensor dlogits = empty_on_gpu({tokens, classes}, dtype);
        std::vector<std::int64_t> ids;
        for (std::int64_t i = 0; i < tokens; ++i) ids.push_back(i * 7919 % classes);
        const Tensor target = Tensor::from(ids, {tokens}).to(gpu);
        const Tensor loss = empty_on_gpu({tokens}, DType::f32),
                     highest = empty_on_gpu({tokens}, DType::f32),
                     inverse = empty_on_gpu({tokens}, DType::f32);
        const CrossEntropyRows of{dtype, DType::i64, tokens,        classes,
                                  -100,  0.0,        logits.data(), target.data()};
        // Logits are read once for the loss and once for the gradient, which is written.
        measure(state, bytes_of({logits, logits, dlogits}), 0, [&] {
          cross_entropy_forward(current_stream(gpu),
                                {of, loss.data(), highest.data(), inverse.data()});
          cross_entropy_backward(current_stream(gpu),
                                 {of, highest.data(), inverse.data(), loss.data(), dlogits.data()});
        });
      });
}

void add_adam() {
  // BERT-base: 110 million parameters in 200 tensors.
  add("adam_step/f32/110M", [](benchmark::State& state) {
    const std::int64_t tensors = 200, n = 550'000;
    std::vector<Tensor> t;
    std::vector<AdamTensor> steps;
    for (std::int64_t i = 0; i < tensors; ++i) {
      for (unsigned part = 0; part < 4; ++part) {
        t.push_back(empty_on_gpu({n}, DType::f32));
        // Second moments are not negative.
        random_fill(current_stream(gpu), {Distribution::uniform,
                                          DType::f32,
                                          t.back().data(),
                                          n,
                                          {static_cast<std::uint64_t>(4 * i + part), 0},
                                          0.0,
                                          1.0});
      }
      const Tensor* p = &t[t.size() - 4];
      steps.push_back({p[0].data(), p[1].data(), p[2].data(), p[3].data(), n, 1, 1e-3, 0, 0.01});
    }
    const double bytes = 28.0 * static_cast<double>(tensors * n);  // reads p g m v, writes p m v
    measure(state, bytes, 0, [&] {
      adam_step(current_stream(gpu), {DType::f32, steps.data(), tensors, 0.9, 0.999, 1e-8, 1.0});
    });
  });
}

void add_gelu(DType dtype) {
  const std::int64_t wide = 3072, tall = 32768;
  add(fmt::format("bias_gelu_forward/{}/{}x{}", to_string(dtype), tall, wide),
      [=](benchmark::State& state) {
        const Tensor x = random_on_gpu({tall, wide}, dtype, 1),
                     bias = random_on_gpu({wide}, dtype, 2), y = empty_on_gpu({tall, wide}, dtype);
        measure(state, bytes_of({x, y}), 0, [&] {
          bias_gelu_forward(current_stream(gpu),
                            {dtype, GeluForm::erf, tall, wide, 1, x.data(), bias.data(), y.data()});
        });
      });
}

void add_products(DType dtype) {
  for (const std::int64_t m : {1024, 4096, 8192})
    add(fmt::format("matmul/{}/{}", to_string(dtype), m), [=](benchmark::State& state) {
      const Tensor a = random_on_gpu({m, m}, dtype, 2), b = random_on_gpu({m, m}, dtype, 3),
                   c = empty_on_gpu({m, m}, dtype);
      const double size = static_cast<double>(m);
      measure(state, bytes_of({a, b, c}), 2 * size * size * size, [&] {
        matmul(current_stream(gpu),
               {dtype, m, m, m, a.data(), b.data(), c.data(), m, 1, m, 1, {}, {}, {}});
      });
    });
}

}  // namespace

void add_all() {
  for (const std::int64_t length : {512, 1024, 2048, 4096, 8192, 16384})
    for (const std::int64_t dim : {64, 128})
      add_attention({DType::bf16, 16384 / length, 2048 / dim, length, dim, false});
  add_attention({DType::bf16, 128, 12, 128, 64, false});
  add_attention({DType::bf16, 8, 16, 2048, 64, true});
  add_attention({DType::f16, 8, 32, 2048, 64, false});
  add_attention({DType::f32, 8, 16, 1024, 64, false});
  for (const DType dtype : {DType::bf16, DType::f32}) {
    add_layer_norm(dtype);
    add_losses(dtype);
    add_gelu(dtype);
    add_products(dtype);
  }
  add_adam();
}

}  // namespace mettle::bench
