// Matrix products on CUDA: the choice of a tile, and the launch.
#include "kernels/matmul.h"

#include <cstdlib>
#include <limits>

#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/matmul_tiles.cuh"
#include "kernels/cuda/register.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

template <class Tile> constexpr TileShape shape_of(double efficiency) {
  return {Tile::m, Tile::n, Tile::k, efficiency};
}
// By the reads of shared memory per FMA.
template <class T>
constexpr TileShape simt_tiles[] = {shape_of<SmallTile<T>>(0.4), shape_of<MediumTile<T>>(0.75),
                                    shape_of<LargeTile>(1)};

/// Sets how threads read an operand: along the axis that is dense, in packs where every row of
/// every matrix of the batch begins at a multiple of 16 bytes and ends with a whole pack.
template <class T>
MatmulOperand operand(const void* data, std::int64_t outer, std::int64_t k, std::int64_t outers,
                      std::int64_t depth, const Strides& batch) {
  const auto size = [](std::int64_t x) { return x < 0 ? -x : x; };
  const bool along_k = outers == 1 || (depth > 1 && size(k) <= size(outer));
  const std::int64_t step = along_k ? k : outer, row = along_k ? outer : k;
  const bool one_row = (along_k ? outers : depth) == 1;
  bool packs = step == 1 && (along_k ? depth : outers) % pack_size<T> == 0 &&
               packs_fit<T>(data, one_row ? 0 : row);
  for (const std::int64_t stride : batch) packs = packs && stride % pack_size<T> == 0;
  return {data, outer, k, along_k, packs};
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
  p.splits = static_cast<std::uint32_t>(plan.splits);
  p.k_per_split = plan.k_per_split;
  p.products = numel(args.batch);
  p.batch.rank = args.batch.rank();
  for (int axis = 0; axis < args.batch.rank(); ++axis) {
    p.batch.extent[axis] = static_cast<std::uint32_t>(args.batch[axis]);
    p.batch.a[axis] = args.a_batch[axis];
    p.batch.b[axis] = args.b_batch[axis];
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
  p.c_packs = p.partial ? packs_fit<Acc>(p.partial, p.n) : packs_fit<T>(p.c, p.n);
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
    dev::launch(matmul_sum_splits<T>, {{blocks}, {256}}, stream, static_cast<const Acc*>(p.partial),
                static_cast<T*>(p.c), count, static_cast<int>(p.splits));
  }
}

// 16-bit types come here without matrix instructions only by their layout, and registers hold no
// larger tile of f64.
template <class T>
constexpr std::span<const TileShape> simt_tiles_of(simt_tiles<T>, std::is_same_v<T, float> ? 3 : 2);

// With the tile that the plan prefers, or with the one of this number where the type has it.
template <class T> void run_simt_typed(const Stream& stream, const MatmulArgs& original, int tile) {
  const MatmulArgs args = cpu::merge_batch(original);
  const std::int64_t products = numel(args.batch);
  if (products == 0 || args.m == 0 || args.n == 0) return;
  constexpr std::span<const TileShape> all = simt_tiles_of<T>;
  const std::size_t only = std::min(static_cast<std::size_t>(std::max(tile, 0)), all.size() - 1);
  MatmulPlan plan =
      plan_matmul(args.m, args.n, args.k, products, tile < 0 ? all : all.subspan(only, 1));
  if (tile >= 0) plan.tile = static_cast<int>(only);
  const MatmulProblem p = problem_of<T>(args, plan);
  const auto launch = [&]<class Tile>() {
    launch_matmul<T>(
        stream, p, all[static_cast<std::size_t>(plan.tile)], Tile::threads, 0,
        p.a.packs && p.b.packs ? matmul_tiles<T, Tile, true> : matmul_tiles<T, Tile, false>);
  };
  if constexpr (all.size() > 2)
    if (plan.tile == 2) return launch.template operator()<LargeTile>();
  if (plan.tile == 1) return launch.template operator()<MediumTile<T>>();
  launch.template operator()<SmallTile<T>>();
}

template <int Tile> void run_simt(const Stream& stream, const MatmulArgs& args) {
  dispatch_float(
      args.dtype, [&]<class T>() { run_simt_typed<T>(stream, args, Tile); }, "matmul");
}

}  // namespace

void register_matmul() {
  matmul.add({"simt", DeviceType::cuda, 0, nullptr, run_simt<-1>});
  // With one tile for every shape: for comparisons.
  matmul.add({"simt_small", DeviceType::cuda, -10, nullptr, run_simt<0>});
  matmul.add({"simt_medium", DeviceType::cuda, -10, nullptr, run_simt<1>});
  matmul.add({"simt_large", DeviceType::cuda, -10, nullptr, run_simt<2>});
}

}  // namespace mettle::kernels::cuda
