// Matrix products on CUDA without matrix instructions: the choice of a tile.
#include "kernels/matmul.h"

#include <span>

#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/matmul_tiles.cuh"
#include "kernels/cuda/register.h"
#include "kernels/matmul_then_gelu.h"

namespace mettle::kernels::cuda {
namespace {

// By the reads of shared memory per FMA.
template <class T>
constexpr TileShape simt_tiles[] = {tile_shape<SmallTile<T>>(0.4), tile_shape<MediumTile<T>>(0.75),
                                    tile_shape<LargeTile>(1)};

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
  matmul.add({"simt", DeviceType::cuda, 0, nullptr, matmul_then_gelu<run_simt<-1>>});
  // With one tile for every shape: for comparisons.
  matmul.add({"simt_small", DeviceType::cuda, -10, nullptr, matmul_then_gelu<run_simt<0>>});
  matmul.add({"simt_medium", DeviceType::cuda, -10, nullptr, matmul_then_gelu<run_simt<1>>});
  matmul.add({"simt_large", DeviceType::cuda, -10, nullptr, matmul_then_gelu<run_simt<2>>});
}

}  // namespace mettle::kernels::cuda
