// The host side that all of our matrix products share: from arguments to a problem, the launches,
// and the sum over parts of k.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/cuda/matmul_epilogue.cuh"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/scratch.h"
#include "kernels/matmul.h"

namespace mettle::kernels::cuda {

template <class Tile> constexpr TileShape tile_shape(double efficiency) {
  return {Tile::m, Tile::n, Tile::k, efficiency};
}

/// Sets how threads read an operand: along the axis that is dense, in packs where every row of
/// every matrix of the batch begins at a multiple of 16 bytes and ends with a whole pack.
template <class T>
MatmulOperand operand(const void* data, std::int64_t outer, std::int64_t k, std::int64_t outers,
                      std::int64_t depth, const Strides& batch) {
  const auto size = [](std::int64_t x) { return x < 0 ? -x : x; };
  const bool along_k = outers == 1 || (depth > 1 && size(k) <= size(outer));
  const std::int64_t step = along_k ? k : outer, row = along_k ? outer : k;
  const bool one_row = (along_k ? outers : depth) == 1;
  bool aligned = step == 1 && packs_fit<T>(data, one_row ? 0 : row);
  for (const std::int64_t stride : batch) aligned = aligned && stride % pack_size<T> == 0;
  return {data,    outer,   k,
          along_k, aligned, aligned && (along_k ? depth : outers) % pack_size<T> == 0};
}

inline MatmulActivation activation_of(const MatmulEpilogue& epilogue) {
  if (!epilogue.gelu) return MatmulActivation::none;
  return *epilogue.gelu == GeluForm::erf ? MatmulActivation::gelu_erf : MatmulActivation::gelu_tanh;
}

/// `args` has merged batch axes.
template <class T> MatmulProblem problem_of(const MatmulArgs& args, const MatmulPlan& plan) {
  MatmulProblem p{};
  p.m = args.m;
  p.n = args.n;
  p.k = args.k;
  p.a = operand<T>(args.a, args.a_row, args.a_column, args.m, args.k, args.a_batch);
  p.b = operand<T>(args.b, args.b_column, args.b_row, args.n, args.k, args.b_batch);
  p.c = args.c;
  p.bias = args.epilogue.bias;
  p.z = args.epilogue.z;
  p.activation = activation_of(args.epilogue);
  p.splits = static_cast<std::uint32_t>(plan.splits);
  p.k_per_split = plan.k_per_split;
  p.products = numel(args.batch);
  p.batch.rank = args.batch.rank();
  for (int axis = 0; axis < args.batch.rank(); ++axis) {
    p.batch.extent[axis] = static_cast<std::uint32_t>(args.batch[axis]);
    p.batch.a[axis] = args.a_batch[axis];
    p.batch.b[axis] = args.b_batch[axis];
    p.batch.bias[axis] = args.epilogue.bias_batch[axis];
  }
  return p;
}

/// Launches `kernel` over all products, as many at a time as a grid takes, and then the sum over
/// splits.
template <class T>
void launch_matmul(const Stream& stream, MatmulProblem p, const TileShape& tile, int threads,
                   std::size_t shared_bytes, void (*kernel)(MatmulProblem)) {
  using Acc = accumulate_t<T>;
  const std::int64_t count = p.products * p.m * p.n;
  Scratch scratch(stream,
                  p.splits > 1 ? p.splits * static_cast<std::size_t>(count) * sizeof(Acc) : 0);
  if (p.splits > 1) p.partial = scratch.take<Acc>(p.splits * static_cast<std::size_t>(count));
  p.c_packs =
      p.partial ? packs_fit<Acc>(p.partial, p.n) : packs_fit<T>(p.c, p.n) && packs_fit<T>(p.z, p.n);
  p.tiles_m = static_cast<std::uint32_t>((p.m + tile.m - 1) / tile.m);
  p.tiles_n = static_cast<std::uint32_t>((p.n + tile.n - 1) / tile.n);
  const std::int64_t per_product = std::int64_t{p.tiles_m} * p.tiles_n * p.splits;
  const std::int64_t at_once =
      std::max<std::int64_t>(1, std::numeric_limits<int>::max() / per_product);
  for (p.first_product = 0; p.first_product < p.products; p.first_product += at_once) {
    const std::int64_t products = std::min(at_once, p.products - p.first_product);
    dev::launch(kernel, {{static_cast<int>(products * per_product)}, {threads}, shared_bytes},
                stream, p);
  }
  if (p.splits > 1) {
    const int blocks = static_cast<int>(std::min<std::int64_t>((count + 255) / 256, 2112));
    dev::launch(matmul_sum_splits<T>, {{blocks}, {256}}, stream, p);
  }
}

}  // namespace mettle::kernels::cuda
