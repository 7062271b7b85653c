// What the matrix products on a GPU share: the problem as kernels see it, and which tile of which
// product a block computes.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

struct MatmulOperand {
  const void* data;
  std::int64_t outer, k;  // strides in elements; the outer axis is m of A, n of B
  bool along_k;           // threads next to each other read along k, not along the outer axis
  bool aligned;           // every row along that axis is dense and begins at a multiple of 16 bytes
  bool packs;             // and ends with a whole 16-byte pack
};

struct MatmulBatch {
  static constexpr int max_axes = 8;
  int rank;
  std::uint32_t extent[max_axes];
  std::int64_t a[max_axes], b[max_axes], bias[max_axes];  // strides in elements
};

enum class MatmulActivation : std::uint8_t { none, gelu_erf, gelu_tanh };

/// C[batch] = A[batch] B[batch] with the epilogue of kernels/matmul.h, or, with `splits` > 1, f32
/// (f64 for f64) sums over parts of k, which matmul_sum_splits() adds up: partial (splits,
/// products, m, n).
struct MatmulProblem {
  std::int64_t m, n, k;
  MatmulOperand a, b;
  void* c;
  const void* bias;  // null: none
  void* z;           // null: not wanted
  MatmulActivation activation;
  void* partial;  // null without splits
  bool c_packs;   // rows of C, Z and the partial sums begin at multiples of 16 bytes
  std::uint32_t tiles_m, tiles_n, splits;
  std::int64_t k_per_split;
  std::int64_t first_product, products;  // of this launch, of all
  MatmulBatch batch;
};

/// Where a block works.
struct MatmulPlace {
  std::int64_t m0, n0;
  std::int64_t k_begin, k_end;
  std::int64_t a, b, bias;  // offsets of the product's operands
  std::int64_t c;           // offset of C's matrix in what the block writes to

  METTLE_DEVICE void set_operands(const MatmulBatch& batch, std::int64_t product) {
    auto rest = static_cast<std::uint32_t>(product);
    for (int axis = batch.rank - 1; axis >= 0; --axis) {
      const std::uint32_t outer = axis > 0 ? rest / batch.extent[axis] : 0;
      const std::int64_t i = rest - outer * batch.extent[axis];
      a += i * batch.a[axis];
      b += i * batch.b[axis];
      bias += i * batch.bias[axis];
      rest = outer;
    }
  }
};

/// Blocks next to each other share operands in the L2 cache: they run down bands of 8 tiles' width.
template <int TileM, int TileN> METTLE_DEVICE MatmulPlace matmul_place(const MatmulProblem& p) {
  constexpr std::uint32_t band_width = 8;
  auto block = static_cast<std::uint32_t>(dev::block_index().x);
  std::uint32_t tile = 0, tile_m = 0, tile_n = 0, split = 0;
  const std::uint32_t tiles = p.tiles_m * p.tiles_n;
  if (tiles > 1) {
    tile = block % tiles;
    block /= tiles;
    const std::uint32_t band = tile / (p.tiles_m * band_width);
    const std::uint32_t in_band = tile - band * p.tiles_m * band_width;
    const std::uint32_t left = p.tiles_n - band * band_width;
    const std::uint32_t width = left < band_width ? left : band_width;
    tile_m = in_band / width;
    tile_n = band * band_width + in_band % width;
  }
  if (p.splits > 1) {
    split = block % p.splits;
    block /= p.splits;
  }
  MatmulPlace place{};
  place.m0 = std::int64_t{tile_m} * TileM;
  place.n0 = std::int64_t{tile_n} * TileN;
  place.k_begin = split * p.k_per_split;
  place.k_end = place.k_begin + p.k_per_split < p.k ? place.k_begin + p.k_per_split : p.k;
  const std::int64_t product = p.first_product + block;
  place.c = (split * p.products + product) * p.m * p.n;
  place.set_operands(p.batch, product);
  return place;
}

/// The smaller of what is left and `most`.
METTLE_DEVICE int at_most(std::int64_t left, int most) {
  return left < most ? static_cast<int>(left) : most;
}

}  // namespace mettle::kernels::cuda
