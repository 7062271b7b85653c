// Kernels that should be bound by memory: time, GB/s of the bytes that the mathematics must move,
// and the share of what a copy or triad reaches in this process, beside the rows. With one thread
// these are rates of processor time. What fits into a cache can pass 100 %.
//
//   OMP_NUM_THREADS=1 memory_bound_bench --benchmark_filter=layer_norm --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <random>
#include <span>
#include <string>
#include <vector>

#include "bench/add_all.h"
#include "bench/memory_bound.h"
#include "kernels/bce_with_logits.h"
#include "kernels/bias_gelu.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/layer_norm.h"

namespace mettle::bench {
namespace {

using namespace kernels;

// Tensors of 50 MB: what is left of them in a cache when the next repetition begins helps little.
constexpr std::int64_t rows = 16384, width = 768, wide_rows = 4096, wide = 3072;

// Operands of the norms: t[0] x (or s), t[1] dy, t[2] ddx, then outputs.
struct Norm {
  Norm() {
    for (unsigned i = 0; i < 3; ++i) t.push_back(random_tensor({rows, width}, i));
    for (unsigned i = 0; i < 4; ++i) t.push_back(Tensor::zeros({rows, width}));
    for (unsigned i = 0; i < 6; ++i) vectors.push_back(random_tensor({width}, 9 + i));
    mean = Tensor::zeros({rows});
    rstd = Tensor::zeros({rows});
    layer_norm_forward({}, {DType::f32, rows, width, 1, 1e-5, t[0].data(), vectors[0].data(),
                            vectors[1].data(), t[3].data(), mean.data(), rstd.data()});
  }
  std::vector<Tensor> t, vectors;
  Tensor mean, rstd;
};

void layer_norm_fwd(benchmark::State& state) {
  const Norm n;
  measure(state, {n.t[0], n.t[3]}, [&] {
    layer_norm_forward({}, {DType::f32, rows, width, 1, 1e-5, n.t[0].data(), n.vectors[0].data(),
                            n.vectors[1].data(), n.t[3].data(), n.mean.data(), n.rstd.data()});
  });
}

void layer_norm_bwd(benchmark::State& state) {
  const Norm n;
  measure(state, {n.t[0], n.t[1], n.t[3]}, [&] {
    layer_norm_backward({}, {DType::f32, rows, width, 1, n.t[0].data(), n.vectors[0].data(),
                             n.mean.data(), n.rstd.data(), n.t[1].data(), n.t[3].data(),
                             n.vectors[4].data(), n.vectors[5].data()});
  });
}

void layer_norm_double_bwd(benchmark::State& state) {
  const Norm n;
  measure(state, {n.t[0], n.t[1], n.t[2], n.t[3], n.t[4]}, [&] {
    layer_norm_double_backward(
        {}, {DType::f32, rows, width, 1, n.t[0].data(), n.vectors[0].data(), n.mean.data(),
             n.rstd.data(), n.t[1].data(), n.t[2].data(), n.vectors[2].data(), n.vectors[3].data(),
             n.t[3].data(), n.vectors[5].data(), n.t[4].data()});
  });
}

void gelu_fwd(benchmark::State& state, GeluForm form) {
  const Tensor x = random_tensor({wide_rows, wide}, 1), bias = random_tensor({wide}, 2);
  const Tensor y = Tensor::zeros({wide_rows, wide});
  measure(state, {x, y}, [&] {
    bias_gelu_forward({}, {DType::f32, form, wide_rows, wide, 1, x.data(), bias.data(), y.data()});
  });
}

void gelu_bwd(benchmark::State& state, GeluForm form) {
  const Tensor x = random_tensor({wide_rows, wide}, 1), bias = random_tensor({wide}, 2);
  const Tensor dy = random_tensor({wide_rows, wide}, 3);
  const Tensor dx = Tensor::zeros({wide_rows, wide}), dbias = Tensor::zeros({wide});
  measure(state, {x, dy, dx}, [&] {
    bias_gelu_backward({}, {DType::f32, form, wide_rows, wide, 1, x.data(), bias.data(), dy.data(),
                            dx.data(), dbias.data()});
  });
}

constexpr PhiloxKey key{7, 11};

void dropout_fwd(benchmark::State& state) {
  const Tensor x = random_tensor({rows, width}, 1), y = Tensor::zeros({rows, width});
  measure(state, {x, y}, [&] {
    dropout({}, {DType::f32, rows * width, 0.1, key, x.data(), y.data()});
  });
}

void dropout_norm_fwd(benchmark::State& state) {
  const Norm n;
  measure(state, {n.t[0], n.t[1], n.t[3], n.t[4]}, [&] {
    dropout_residual_layer_norm_forward(
        {}, {DType::f32, rows, width, 1, 1e-5, 0.1, key, n.t[0].data(), n.t[1].data(),
             n.vectors[0].data(), n.vectors[1].data(), n.t[3].data(), n.t[4].data(), n.mean.data(),
             n.rstd.data()});
  });
}

void dropout_norm_bwd(benchmark::State& state) {
  const Norm n;
  measure(state, {n.t[0], n.t[1], n.t[3], n.t[4]}, [&] {
    dropout_residual_layer_norm_backward(
        {}, {DType::f32, rows, width, 1, 0.1, key, n.t[0].data(), n.vectors[0].data(),
             n.mean.data(), n.rstd.data(), n.t[1].data(), nullptr, n.t[3].data(), n.t[4].data(),
             n.vectors[4].data(), n.vectors[5].data()});
  });
}

struct Loss {
  static constexpr std::int64_t n = 16000000;
  Tensor x = random_tensor({n}, 1), target = Tensor::zeros({n}), dx = Tensor::zeros({n});
  Tensor loss = Tensor::zeros({1});
  Tensor dloss = Tensor::from(std::vector<float>{1}, {1});
};

void bce_fwd(benchmark::State& state) {
  const Loss l;
  measure(state, {l.x, l.target}, [&] {
    bce_with_logits_forward({}, {DType::f32, Reduction::mean, l.n, 1, l.x.data(), l.target.data(),
                                 nullptr, l.loss.data(), nullptr});
  });
}

void bce_fwd_and_gradient(benchmark::State& state) {
  const Loss l;
  measure(state, {l.x, l.target, l.dx}, [&] {
    bce_with_logits_forward({}, {DType::f32, Reduction::mean, l.n, 1, l.x.data(), l.target.data(),
                                 nullptr, l.loss.data(), l.dx.data()});
  });
}

void bce_bwd(benchmark::State& state) {
  const Loss l;
  measure(state, {l.x, l.target, l.dx}, [&] {
    bce_with_logits_backward({}, {DType::f32, Reduction::mean, l.n, 1, l.x.data(), l.target.data(),
                                  nullptr, l.dloss.data(), l.dx.data(), nullptr});
  });
}

// 8 x 128 tokens from a table of 30522 x 768: only the rows that are looked up count.
struct Tokens {
  static constexpr std::int64_t count = 1024, vocabulary = 30522;
  Tokens() {
    std::mt19937 engine(5);
    for (std::int64_t& id : std::span(ids.data<std::int64_t>(), count))
      id = static_cast<std::int64_t>(engine() % vocabulary);
  }
  Tensor ids = Tensor::zeros({count}, DType::i64);
  Tensor table = Tensor::zeros({vocabulary, width});
  Tensor out = random_tensor({count, width}, 6), rows = Tensor::zeros({count, width});
  Tensor unique = Tensor::zeros({count}, DType::i64);
};

void embedding_fwd(benchmark::State& state) {
  const Tokens t;
  measure(state, {t.out, t.rows}, [&] {
    embedding_forward({}, {DType::f32, DType::i64, t.count, t.vocabulary, width, -1, t.table.data(),
                           t.ids.data(), t.out.data()});
  });
}

void embedding_sparse_bwd(benchmark::State& state) {
  const Tokens t;
  std::int64_t count = 0;
  measure(state, {t.out, t.rows}, [&] {
    embedding_sparse_backward(
        {}, {DType::f32, DType::i64, t.count, t.vocabulary, width, -1, t.out.data(), t.ids.data(),
             t.unique.data<std::int64_t>(), t.rows.data(), &count});
  });
}

void elementwise(benchmark::State& state, UnaryOp op) {
  const Tensor x = random_tensor({rows, width}, 1), y = Tensor::zeros({rows, width});
  unary({}, {UnaryOp::abs, DType::f32, x.data(), x.data(), x.shape(), x.strides()});
  measure(state, {x, y}, [&] {
    unary({}, {op, DType::f32, x.data(), y.data(), x.shape(), x.strides(), 1.5});
  });
}

template <class F, class... A> void add(const std::string& name, F f, A... arguments) {
  auto* row = benchmark::RegisterBenchmark(name.c_str(), f, arguments...);
  row->Unit(benchmark::kMicrosecond)->Apply(clock_of_the_probe);
}

}  // namespace

void add_all() {
  add("layer_norm/forward/16384x768", layer_norm_fwd);
  add("layer_norm/backward/16384x768", layer_norm_bwd);
  add("layer_norm/double_backward/16384x768", layer_norm_double_bwd);
  for (const GeluForm form : {GeluForm::erf, GeluForm::tanh}) {
    const std::string name = form == GeluForm::erf ? "bias_gelu_erf" : "bias_gelu_tanh";
    add(name + "/forward/4096x3072", gelu_fwd, form);
    add(name + "/backward/4096x3072", gelu_bwd, form);
  }
  add("dropout/forward/16384x768", dropout_fwd);
  add("dropout_residual_layer_norm/forward/16384x768", dropout_norm_fwd);
  add("dropout_residual_layer_norm/backward/16384x768", dropout_norm_bwd);
  add("bce_with_logits/forward/16M", bce_fwd);
  add("bce_with_logits/forward_with_gradient/16M", bce_fwd_and_gradient);
  add("bce_with_logits/backward/16M", bce_bwd);
  add("embedding/forward/1024_of_30522x768", embedding_fwd);
  add("embedding/sparse_backward/1024_of_30522x768", embedding_sparse_bwd);
  const std::pair<const char*, UnaryOp> functions[] = {
      {"affine", UnaryOp::affine},   {"exp", UnaryOp::exp}, {"log", UnaryOp::log},
      {"log1p", UnaryOp::log1p},     {"sin", UnaryOp::sin}, {"cos", UnaryOp::cos},
      {"tanh", UnaryOp::tanh},       {"erf", UnaryOp::erf}, {"sigmoid", UnaryOp::sigmoid},
      {"power_1.5", UnaryOp::power},
  };
  for (const auto& [name, op] : functions)
    add("elementwise/" + std::string(name) + "/16384x768", elementwise, op);
}

}  // namespace mettle::bench
