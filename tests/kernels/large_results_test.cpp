// Results larger than the caches are written past them: the same bits as the same rows in a small
// problem.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/tensor.h"
#include "kernels/bias_gelu.h"
#include "kernels/dropout.h"
#include "kernels/layer_norm.h"
#include "kernels/random.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr std::int64_t width = 2048, rows = 4200, few = 40;  // 34 MB in f32, and little

Tensor numbers(const Shape& shape, unsigned seed) {
  const Tensor t = Tensor::empty(shape);
  random_fill({}, {Distribution::uniform, DType::f32, t.data(), t.numel(), {seed, 0}, -2.0, 2.0});
  return t;
}

/// The outputs that run(rows, outputs) leaves for all rows and for the first few.
template <class Run> void compare(std::size_t outputs, const Run& run) {
  std::vector<Tensor> all, first;
  for (std::size_t k = 0; k < outputs; ++k) {
    all.push_back(Tensor::empty({rows, width}));
    first.push_back(Tensor::empty({few, width}));
  }
  run(rows, all);
  run(few, first);
  for (std::size_t k = 0; k < outputs; ++k)
    EXPECT_EQ(std::memcmp(all[k].data(), first[k].data(), first[k].bytes()), 0) << "output " << k;
}

struct Operands {
  Tensor x = numbers({rows, width}, 1), other = numbers({rows, width}, 2);
  Tensor gamma = numbers({width}, 3), beta = numbers({width}, 4);
  Tensor mean = numbers({rows}, 5), rstd = numbers({rows}, 6);
};

TEST(LargeResults, LayerNorm) {
  Operands o;
  compare(1, [&](std::int64_t n, std::vector<Tensor>& out) {
    layer_norm_forward({}, {DType::f32, n, width, 1, 1e-5, o.x.data(), o.gamma.data(),
                            o.beta.data(), out[0].data(), nullptr, nullptr});
  });
  compare(1, [&](std::int64_t n, std::vector<Tensor>& out) {
    layer_norm_backward({}, {DType::f32, n, width, 1, o.x.data(), o.gamma.data(), o.mean.data(),
                             o.rstd.data(), o.other.data(), out[0].data(), nullptr, nullptr});
  });
}

TEST(LargeResults, BiasGelu) {
  Operands o;
  for (const GeluForm form : {GeluForm::erf, GeluForm::tanh}) {
    compare(1, [&](std::int64_t n, std::vector<Tensor>& out) {
      bias_gelu_forward({},
                        {DType::f32, form, n, width, 1, o.x.data(), o.beta.data(), out[0].data()});
    });
    compare(1, [&](std::int64_t n, std::vector<Tensor>& out) {
      bias_gelu_backward({}, {DType::f32, form, n, width, 1, o.x.data(), o.beta.data(),
                              o.other.data(), out[0].data(), nullptr});
    });
  }
}

TEST(LargeResults, DropoutResidualLayerNorm) {
  Operands o;
  for (const double p : {0.0, 0.25}) {
    compare(2, [&](std::int64_t n, std::vector<Tensor>& out) {
      dropout_residual_layer_norm_forward(
          {}, {DType::f32, n, width, 1, 1e-5, p, PhiloxKey{7, 11}, o.x.data(), o.other.data(),
               o.gamma.data(), o.beta.data(), out[0].data(), out[1].data(), nullptr, nullptr});
    });
    compare(2, [&](std::int64_t n, std::vector<Tensor>& out) {
      dropout_residual_layer_norm_backward(
          {}, {DType::f32, n, width, 1, p, PhiloxKey{7, 11}, o.x.data(), o.gamma.data(),
               o.mean.data(), o.rstd.data(), o.other.data(), o.x.data(), out[0].data(),
               out[1].data(), nullptr, nullptr});
    });
  }
}

}  // namespace
}  // namespace mettle::test
