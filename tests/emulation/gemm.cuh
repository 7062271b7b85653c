// C = A B for A (M, K), B (K, N) in bf16 and C in f32: tiles of 64 x 64 x 32, four warps of 32 x
// 32, two stages of cp.async, ldmatrix and mma.sync. N and K are multiples of 8.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

struct GemmTile {
  static constexpr int m = 64, n = 64, k = 32;
  static constexpr int threads = 128;
  static constexpr int shared_bytes = 2 * (m * (k + 8) + k * (n + 8)) * 2;
};

// Loads `rows` x `columns` of a matrix to a padded tile; zeros outside of the matrix. (r, c) counts
// in the tile, (row, column) is its corner in the matrix.
template <bool bounded>
METTLE_DEVICE void load_tile(bf16* tile, int pitch, int rows, int columns, const bf16* matrix,
                             int matrix_rows, int matrix_columns, int row, int column) {
  for (int i = dev::thread_rank(); i < rows * columns / 8; i += GemmTile::threads) {
    const int r = i / (columns / 8), c = i % (columns / 8) * 8;
    const bool inside = (row + r < matrix_rows || !bounded) && column + c < matrix_columns;
    const bf16* source =
        inside ? matrix + static_cast<std::int64_t>(row + r) * matrix_columns + column + c : matrix;
    dev::copy_async<16>(tile + r * pitch + c, source, inside ? 16 : 0);  // copy
  }
}

// acc += the product of two tiles, for this warp's 32 x 32.
template <int pitch_a, int pitch_b>
METTLE_DEVICE void multiply_tiles(float (&acc)[2][4][4], const bf16* a, const bf16* b) {
  const int lane = dev::lane_index(), row = dev::warp_index() / 2 * 32;
  const int column = dev::warp_index() % 2 * 32;
  METTLE_UNROLL
  for (int k = 0; k < GemmTile::k; k += 16) {
    std::uint32_t fa[2][4], fb[2][4];
    METTLE_UNROLL
    for (int i = 0; i < 2; ++i)
      dev::load_matrices(fa[i], a + (row + 16 * i + lane % 16) * pitch_a + k + lane / 16 * 8);  // a
    METTLE_UNROLL
    for (int j = 0; j < 2; ++j) {
      const bf16* at = b + (k + lane % 16) * pitch_b + column + 16 * j + lane / 16 * 8;
      dev::load_matrices_transposed(fb[j], at);  // b
    }
    METTLE_UNROLL
    for (int i = 0; i < 2; ++i) {
      METTLE_UNROLL
      for (int j = 0; j < 4; ++j)
        dev::multiply_add<bf16>(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
}

template <GemmFault fault> METTLE_GLOBAL(128) void gemm_tiles(const GemmArgs args) {
  using enum GemmFault;
  constexpr int pad = fault == unpadded ? 0 : 8;
  constexpr int pitch_a = GemmTile::k + pad, pitch_b = GemmTile::n + pad;
  constexpr int size_a = GemmTile::m * pitch_a, size_b = GemmTile::k * pitch_b;
  dev::SharedCarver carver;
  bf16* tiles_a = carver.take<bf16>(2 * size_a);
  bf16* tiles_b = carver.take<bf16>(2 * size_b);
  const int m0 = dev::block_index().y * GemmTile::m, n0 = dev::block_index().x * GemmTile::n;
  const auto load = [&](int stage, int k0) {
    load_tile<fault != no_row_bound>(tiles_a + stage * size_a, pitch_a, GemmTile::m, GemmTile::k,
                                     args.a, args.m, args.k, m0, k0);
    load_tile<true>(tiles_b + stage * size_b, pitch_b, GemmTile::k, GemmTile::n, args.b, args.k,
                    args.n, k0, n0);
  };

  float acc[2][4][4] = {};
  const int steps = (args.k + GemmTile::k - 1) / GemmTile::k;
  load(0, 0);
  dev::commit_copies();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) load((step + 1) % 2, (step + 1) * GemmTile::k);
    dev::commit_copies();
    dev::wait_copies<fault == missing_wait ? 2 : 1>();
    if (fault != no_sync_after_wait) dev::sync_block();
    multiply_tiles<pitch_a, pitch_b>(acc, tiles_a + step % 2 * size_a, tiles_b + step % 2 * size_b);
    if (fault != no_sync_at_end) dev::sync_block();
  }
  dev::wait_copies<0>();

  const int lane = dev::lane_index(), warp = dev::warp_index();
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int q = 0; q < 4; ++q) {
        const int row = m0 + warp / 2 * 32 + i * 16 + lane / 4 + q / 2 * 8;
        const int column = n0 + warp % 2 * 32 + j * 8 + lane % 4 * 2 + q % 2;
        if (row < args.m && column < args.n)
          args.c[static_cast<std::int64_t>(row) * args.n + column] = acc[i][j][q];
      }
}

}  // namespace mettle::emulation_test
