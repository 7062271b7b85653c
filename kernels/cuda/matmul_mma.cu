// Matrix products on CUDA by matrix instructions: what they take, and the choice of a tile.
#include "kernels/cuda/matmul_mma.cuh"

#include <span>

#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {
namespace {

constexpr TileShape mma_tiles[] = {tile_shape<MediumMma>(0.6), tile_shape<LargeMma>(1)};
constexpr double mma_speed = 8;  // FMAs a clock, by those of the ordinary cores

bool takes(const MatmulArgs& original) {
  if (original.dtype != DType::bf16 && original.dtype != DType::f16) return false;
  const MatmulArgs args = cpu::merge_batch(original);
  const MatmulProblem p = problem_of<bf16>(args, {});  // f16 is as wide
  return p.a.aligned && p.b.aligned;
}

template <class T, class Tile> void (*kernel_for(const MatmulProblem& p))(MatmulProblem) {
  if (p.a.along_k)
    return p.b.along_k ? matmul_mma<T, Tile, true, true> : matmul_mma<T, Tile, true, false>;
  return p.b.along_k ? matmul_mma<T, Tile, false, true> : matmul_mma<T, Tile, false, false>;
}

template <class T, class Tile> void launch(const Stream& stream, const MatmulProblem& p, int tile) {
  launch_matmul<T>(stream, p, mma_tiles[tile], Tile::threads, Tile::shared_bytes,
                   kernel_for<T, Tile>(p));
}

/// With the tile that the plan prefers, or with the one of this number.
template <class T> void run_typed(const Stream& stream, const MatmulArgs& original, int tile) {
  const MatmulArgs args = cpu::merge_batch(original);
  const std::int64_t products = numel(args.batch);
  if (products == 0 || args.m == 0 || args.n == 0) return;
  const std::span<const TileShape> all(mma_tiles);
  MatmulPlan plan =
      plan_matmul(args.m, args.n, args.k, products,
                  tile < 0 ? all : all.subspan(static_cast<std::size_t>(tile), 1), mma_speed);
  if (tile >= 0) plan.tile = tile;
  const MatmulProblem p = problem_of<T>(args, plan);
  plan.tile == 0 ? launch<T, MediumMma>(stream, p, 0) : launch<T, LargeMma>(stream, p, 1);
}

template <int Tile> void run_mma(const Stream& stream, const MatmulArgs& args) {
  args.dtype == DType::bf16 ? run_typed<bf16>(stream, args, Tile)
                            : run_typed<f16>(stream, args, Tile);
}

constexpr const char* taken =
    "bf16 or f16, rows or columns of both matrices dense and at multiples of 16 bytes";

}  // namespace

void register_matmul_mma() {
  matmul.add({"mma", DeviceType::cuda, 10, takes, run_mma<-1>, taken});
  // With one tile for every shape: for comparisons.
  matmul.add({"mma_medium", DeviceType::cuda, -10, takes, run_mma<0>, taken});
  matmul.add({"mma_large", DeviceType::cuda, -10, takes, run_mma<1>, taken});
}

}  // namespace mettle::kernels::cuda
