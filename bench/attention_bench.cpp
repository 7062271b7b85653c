// Attention kernels: time, GFLOP/s, and the share of the FMA peak that a probe finds in this
// process.
//
//   attention_bench --benchmark_filter=f32/B8/H12/N512       OMP_NUM_THREADS=1 for one thread
//
// FLOP are counted by the mathematics (2 Nq Nk D a product): 2 products forward, 5 backward, 15
// double backward, whatever the kernel does, so that variants and peers compare by time.
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <cmath>
#include <vector>

#include "bench/add_all.h"
#include "bench/fma_probe.h"
#include "engine/parallel.h"
#include "kernels/attention.h"
#include "kernels/random.h"

namespace mettle::bench {
namespace {

using namespace kernels;

struct Size {
  DType dtype;
  std::int64_t batch, heads, length, dim;
  bool causal = false;
  double dropout = 0;
};

// A (B, N, H, D) operand of random numbers.
class Operand {
 public:
  Operand(const Size& s, unsigned seed)
      : size_(s), bytes_(static_cast<std::size_t>(count()) * size_of(s.dtype)) {
    random_fill({}, {Distribution::uniform, s.dtype, bytes_.data(), count(), {seed, 0}, -2.0, 2.0});
  }
  AttentionOut out() {
    const std::int64_t row = size_.heads * size_.dim;
    return {bytes_.data(), size_.length * row, size_.dim, row};
  }
  AttentionIn in() {
    const auto o = out();
    return {o.data, o.batch, o.head, o.row};
  }

 private:
  std::int64_t count() const { return size_.batch * size_.heads * size_.length * size_.dim; }
  Size size_;
  std::vector<std::byte> bytes_;
};

struct Operands {
  explicit Operands(const Size& s) : lse(static_cast<std::size_t>(s.batch * s.heads * s.length)) {
    problem.dtype = s.dtype;
    problem.batch = s.batch;
    problem.heads = s.heads;
    problem.queries = problem.keys = s.length;
    problem.head_dim = problem.value_dim = s.dim;
    problem.scale = 1 / std::sqrt(static_cast<double>(s.dim));
    problem.causal = s.causal;
    problem.dropout = s.dropout;
    for (unsigned i = 0; i < 15; ++i) tensors.emplace_back(s, i);
  }
  void forward() { attention_forward({}, {problem, in(0), in(1), in(2), out(3), lse.data()}); }
  void backward() {
    attention_backward(
        {}, {problem, in(0), in(1), in(2), in(3), lse.data(), in(4), out(5), out(6), out(7)});
  }
  void double_backward() {
    attention_double_backward({}, {problem, in(0), in(1), in(2), in(3), lse.data(), in(4), in(8),
                                   in(9), in(10), out(11), out(12), out(13), out(14)});
  }
  AttentionIn in(std::size_t i) { return tensors[i].in(); }
  AttentionOut out(std::size_t i) { return tensors[i].out(); }

  AttentionProblem problem;
  std::vector<Operand> tensors;
  std::vector<double> lse;
};

using Step = void (*)(Operands& operands);

void run(benchmark::State& state, const Size& size, int products, Step step) {
  static const double peak = fma_gflops();
  Operands operands(size);
  operands.forward();
  for (auto _ : state) step(operands);
  const double n = static_cast<double>(size.length);
  const double flop = products * 2 * n * n *
                      static_cast<double>(size.dim * size.heads * size.batch) *
                      (size.causal ? 0.5 : 1);
  const double gflop = 1e-9 * flop * static_cast<double>(state.iterations());
  state.counters["GF/s"] = benchmark::Counter(gflop, benchmark::Counter::kIsRate);
  state.counters["peak_GF/s"] = peak * threads();
}

void add(const char* name, const Size& s, int products, Step step) {
  const std::string label =
      fmt::format("{}/{}/B{}/H{}/N{}/D{}{}{}", name, to_string(s.dtype), s.batch, s.heads, s.length,
                  s.dim, s.causal ? "/causal" : "", s.dropout > 0 ? "/dropout" : "");
  benchmark::RegisterBenchmark(label.c_str(), run, s, products, step)
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

}  // namespace

void add_all() {
  const Size sizes[] = {
      {DType::f32, 8, 12, 512, 64},       {DType::f32, 8, 12, 128, 64},
      {DType::f32, 8, 12, 512, 64, true}, {DType::f32, 8, 12, 512, 64, false, 0.1},
      {DType::bf16, 8, 12, 512, 64},      {DType::f64, 8, 12, 128, 64},
      {DType::f32, 1, 1, 4096, 64},       {DType::f32, 160, 4, 6, 8},
      {DType::f32, 64, 2, 20, 32},        {DType::f32, 32, 4, 32, 16},
      {DType::f32, 1, 4, 6, 8},
  };
  for (const Size& s : sizes) {
    add("forward", s, 2, [](Operands& o) { o.forward(); });
    add("backward", s, 5, [](Operands& o) { o.backward(); });
    add("forward_backward", s, 7, [](Operands& o) {
      o.forward();
      o.backward();
    });
    add("double_backward", s, 15, [](Operands& o) { o.double_backward(); });
  }
}

}  // namespace mettle::bench
