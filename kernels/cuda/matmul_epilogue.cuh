// Bias and gelu of our matrix products, as kernels/matmul.h describes them.
//
// Z is rounded before the gelu, so that C has the bits of a gelu of Z by its own kernel.
#pragma once

#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/matmul_problem.cuh"
#include "kernels/cuda/packs.cuh"

namespace mettle::kernels::cuda {

/// The bias of N columns of a tile from `column` on; zeros from `columns` on.
template <class T, int N>
METTLE_DEVICE void load_bias(const MatmulProblem& p, const MatmulPlace& place, int column,
                             int columns, accumulate_t<T> (&to)[N]) {
  const T* bias = static_cast<const T*>(p.bias) + place.bias + place.n0 + column;
  METTLE_UNROLL
  for (int j = 0; j < N; ++j) to[j] = column + j < columns ? load_one(bias + j) : 0;
}

/// Writes N neighbours of Z to element number `at` of C, through the activation, and of Z.
template <class T, int N>
METTLE_DEVICE void store_activated(const MatmulProblem& p, std::int64_t at,
                                   const dev::Pack<T, N>& z) {
  T* c = static_cast<T*>(p.c) + at;
  if (p.activation == MatmulActivation::none) {
    *reinterpret_cast<dev::Pack<T, N>*>(c) = z;
    return;
  }
  if (p.z) *reinterpret_cast<dev::Pack<T, N>*>(static_cast<T*>(p.z) + at) = z;
  accumulate_t<T> y[N];
  load_pack(z.at, y);
  METTLE_UNROLL
  for (int j = 0; j < N; ++j)
    y[j] = p.activation == MatmulActivation::gelu_erf
               ? Gelu<GeluForm::erf, sizeof(T) == 2>::value(y[j])
               : Gelu<GeluForm::tanh, sizeof(T) == 2>::value(y[j]);
  store_pack(c, y);
}

/// C[i] = the sum of partial[s][i] over the splits in order, with the epilogue.
template <class T> METTLE_GLOBAL(256) void matmul_sum_splits(const MatmulProblem p) {
  const auto* partial = static_cast<const accumulate_t<T>*>(p.partial);
  const std::int64_t count = p.products * p.m * p.n;
  const std::int64_t step = std::int64_t{dev::grid_size().x} * dev::block_size().x;
  std::int64_t i = std::int64_t{dev::block_index().x} * dev::block_size().x + dev::thread_rank();
  for (; i < count; i += step) {
    accumulate_t<T> sum = 0;
    METTLE_UNROLL
    for (std::uint32_t s = 0; s < p.splits; ++s) sum += partial[s * count + i];
    if (p.bias) {
      const std::int64_t row = i / p.n;
      MatmulPlace place{};
      place.set_operands(p.batch, row / p.m);
      sum += load_one(static_cast<const T*>(p.bias) + place.bias + (i - row * p.n));
    }
    dev::Pack<T, 1> z;
    store_one(z.at, sum);
    store_activated(p, i, z);
  }
}

}  // namespace mettle::kernels::cuda
