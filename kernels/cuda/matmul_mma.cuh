// Matrix products of bf16 and f16 by matrix instructions (variant "mma"), sums in f32.
//
// Limit. The 128 x 128 tile reads 2 x 128 x 2 bytes a step of k for 2 x 128 x 128 FLOPs: 64
// FLOP/byte from L2, which the bands of matmul_place() turn into some 8 times that from memory. A
// warp's 64 x 32 of it reads 6 x 512 bytes of shared memory for 16 instructions, 24 clocks for 32
// of the matrix units at the rate of mma.sync (1024 FMAs a clock), so these are the limit: about 60
// % of what wgmma reaches on an H100, all of it on an A100. Three of four stages of 32 columns are
// on their way while one is multiplied: 48 KB a block, two blocks a multiprocessor.
//
// A tile lies in shared memory as in memory, dense along k or along the outer axis, in chunks of 16
// bytes that are permuted within their row so that the 8 rows of an ldmatrix meet 8 groups of
// banks: no conflicts and no padding. ldmatrix transposes the layouts that the instructions do not
// take.
#pragma once

#include "kernels/cuda/matmul_epilogue.cuh"

namespace mettle::kernels::cuda {

/// M x N of C per block, WarpsM x WarpsN warps; Resident blocks fit on a multiprocessor.
template <int M, int N, int WarpsM, int WarpsN, int Resident> struct MmaTile {
  static constexpr int m = M, n = N, k = 32, stages = 4, resident = Resident;
  static constexpr int threads = 32 * WarpsM * WarpsN, warps_n = WarpsN;
  static constexpr int warp_m = M / WarpsM, warp_n = N / WarpsN;
  static constexpr int blocks_m = warp_m / 16, pairs_n = warp_n / 16;  // fragments of a warp
  static constexpr int shared_bytes = stages * (M + N) * k * 2;
};
using LargeMma = MmaTile<128, 128, 2, 4, 2>;
using MediumMma = MmaTile<64, 64, 2, 2, 4>;

inline constexpr int chunk = 8;  // elements of 16 bytes

/// An operand's tile in shared memory, (Outer, k) if AlongK, else (k, Outer).
template <class T, class Tile, int Outer, bool AlongK> struct MmaOperand {
  static constexpr int size = Outer * Tile::k;
  static constexpr int row_chunks = (AlongK ? Tile::k : Outer) / chunk;

  /// Element number of a chunk.
  METTLE_DEVICE static int place(int row, int column_chunk) {
    const int mixed = AlongK ? column_chunk ^ (row >> 1 & 3) : column_chunk ^ (row & 7);
    return (row * row_chunks + mixed) * chunk;
  }

  /// Copies elements from `from` on; zeros beyond `outers` and `depth`.
  METTLE_DEVICE static void load(T* tile, const T* from, const MatmulOperand& operand, int outers,
                                 int depth) {
    const int rows = AlongK ? outers : depth, columns = AlongK ? depth : outers;
    const std::int64_t stride = AlongK ? operand.outer : operand.k;
    METTLE_UNROLL
    for (int i = 0; i < size / chunk; i += Tile::threads) {
      const int index = i + dev::thread_rank();
      const int row = index / row_chunks, column = index % row_chunks;
      const int left = row < rows ? (columns - column * chunk) * 2 : 0;
      const int bytes = left < 0 ? 0 : left < 16 ? left : 16;
      const T* source = bytes > 0 ? from + row * stride + column * chunk : from;
      dev::copy_async<16>(tile + place(row, column), source, bytes);
    }
  }

  /// The fragment of A of 16 rows from `outer` and 16 columns from `k`.
  METTLE_DEVICE static void fragment_a(std::uint32_t (&to)[4], const T* tile, int outer, int k) {
    const int lane = dev::lane_index();
    if constexpr (AlongK)
      dev::load_matrices(to, tile + place(outer + lane % 16, k / chunk + lane / 16));
    else
      dev::load_matrices_transposed(
          to, tile + place(k + lane / 16 * 8 + lane % 8, outer / chunk + lane / 8 % 2));
  }

  /// Two fragments of B, of 8 columns each from `outer`: registers 0 and 1, 2 and 3.
  METTLE_DEVICE static void fragments_b(std::uint32_t (&to)[4], const T* tile, int outer, int k) {
    const int lane = dev::lane_index();
    if constexpr (AlongK)
      dev::load_matrices(to,
                         tile + place(outer + lane / 16 * 8 + lane % 8, k / chunk + lane / 8 % 2));
    else
      dev::load_matrices_transposed(to, tile + place(k + lane % 16, outer / chunk + lane / 16));
  }
};

template <class Tile> using MmaSums = float[Tile::blocks_m][2 * Tile::pairs_n][4];

/// Calls f(row, column, first, second) for the pairs of neighbours in the warp's part of the tile.
template <class Tile, class F> METTLE_DEVICE void each_pair(const MmaSums<Tile>& sums, F&& f) {
  const int lane = dev::lane_index(), warp = dev::warp_index();
  METTLE_UNROLL
  for (int i = 0; i < Tile::blocks_m; ++i) {
    METTLE_UNROLL
    for (int j = 0; j < 2 * Tile::pairs_n; ++j) {
      METTLE_UNROLL
      for (int half = 0; half < 2; ++half)
        f(warp / Tile::warps_n * Tile::warp_m + i * 16 + half * 8 + lane / 4,
          warp % Tile::warps_n * Tile::warp_n + j * 8 + lane % 4 * 2, sums[i][j][2 * half],
          sums[i][j][2 * half + 1]);
    }
  }
}

/// A quarter of a warp writes 32 bytes of a row.
template <class Tile>
METTLE_DEVICE void store_partial(const MmaSums<Tile>& sums, float* c, std::int64_t pitch, int rows,
                                 int columns, bool packs) {
  each_pair<Tile>(sums, [&](int row, int column, float first, float second) {
    if (row >= rows || column >= columns) return;
    float* to = c + row * pitch + column;
    if (packs) {
      store_pack(to, {first, second});
    } else {
      to[0] = first;
      if (column + 1 < columns) to[1] = second;
    }
  });
}

template <class T, class Tile>
METTLE_DEVICE void add_bias(MmaSums<Tile>& sums, const MatmulProblem& p, const MatmulPlace& place,
                            int columns) {
  const int first = dev::warp_index() % Tile::warps_n * Tile::warp_n + dev::lane_index() % 4 * 2;
  METTLE_UNROLL
  for (int j = 0; j < 2 * Tile::pairs_n; ++j) {
    float bias[2];
    load_bias<T>(p, place, first + j * 8, columns, bias);
    METTLE_UNROLL
    for (int i = 0; i < Tile::blocks_m; ++i) {
      METTLE_UNROLL
      for (int q = 0; q < 4; ++q) sums[i][j][q] += bias[q % 2];
    }
  }
}

/// Rounded, and through shared memory, so that rows are written in packs of 16 bytes; with the
/// activation. `corner` is the place of the tile's first element.
template <class T, class Tile>
METTLE_DEVICE void store_rounded(const MmaSums<Tile>& sums, T* staged, const MatmulProblem& p,
                                 std::int64_t corner, int rows, int columns) {
  constexpr int staged_pitch = Tile::n + chunk;
  each_pair<Tile>(sums, [&](int row, int column, float first, float second) {
    const float values[2] = {first, second};
    store_pack(staged + row * staged_pitch + column, values);
  });
  dev::sync_block();
  constexpr int row_chunks = Tile::n / chunk;
  for (int i = dev::thread_rank(); i < Tile::m * row_chunks; i += Tile::threads) {
    const int row = i / row_chunks, column = i % row_chunks * chunk;
    if (row >= rows || column >= columns) continue;
    const auto values =
        *reinterpret_cast<const dev::Pack<T, chunk>*>(staged + row * staged_pitch + column);
    const std::int64_t at = corner + row * p.n + column;
    if (p.c_packs) {
      store_activated(p, at, values);
    } else {
      for (int j = 0; j < chunk && column + j < columns; ++j)
        store_activated(p, at + j, dev::Pack<T, 1>{staged[row * staged_pitch + column + j]});
    }
  }
}

/// sums += the product of one stage.
template <class T, class Tile, class A, class B>
METTLE_DEVICE void multiply_stage(MmaSums<Tile>& sums, const T* a, const T* b) {
  const int warp = dev::warp_index();
  const int row = warp / Tile::warps_n * Tile::warp_m, column = warp % Tile::warps_n * Tile::warp_n;
  METTLE_UNROLL
  for (int k = 0; k < Tile::k; k += 16) {
    std::uint32_t fa[Tile::blocks_m][4], fb[Tile::pairs_n][4];
    METTLE_UNROLL
    for (int i = 0; i < Tile::blocks_m; ++i) A::fragment_a(fa[i], a, row + 16 * i, k);
    METTLE_UNROLL
    for (int j = 0; j < Tile::pairs_n; ++j) B::fragments_b(fb[j], b, column + 16 * j, k);
    METTLE_UNROLL
    for (int i = 0; i < Tile::blocks_m; ++i) {
      METTLE_UNROLL
      for (int j = 0; j < 2 * Tile::pairs_n; ++j)
        dev::multiply_add<T>(sums[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
}

template <class T, class Tile, bool AlongKA, bool AlongKB>
METTLE_GLOBAL(Tile::threads, Tile::resident)
void matmul_mma(const MatmulProblem p) {
  using A = MmaOperand<T, Tile, Tile::m, AlongKA>;
  using B = MmaOperand<T, Tile, Tile::n, AlongKB>;
  dev::SharedCarver carver;
  T* tiles = carver.take<T>(Tile::stages * (A::size + B::size));
  const MatmulPlace place = matmul_place<Tile::m, Tile::n>(p);
  const int rows = at_most(p.m - place.m0, Tile::m), columns = at_most(p.n - place.n0, Tile::n);
  const T* a =
      static_cast<const T*>(p.a.data) + place.a + place.m0 * p.a.outer + place.k_begin * p.a.k;
  const T* b =
      static_cast<const T*>(p.b.data) + place.b + place.n0 * p.b.outer + place.k_begin * p.b.k;
  const auto tile_a = [&](int step) { return tiles + step % Tile::stages * (A::size + B::size); };
  const std::int64_t sum_depth = place.k_end - place.k_begin;
  const int steps = static_cast<int>((sum_depth + Tile::k - 1) / Tile::k);
  const int last_depth = static_cast<int>(sum_depth - std::int64_t{steps - 1} * Tile::k);
  const auto load = [&](int step) {
    const std::int64_t k0 = std::int64_t{step} * Tile::k;
    const int depth = step + 1 < steps ? Tile::k : step + 1 == steps ? last_depth : 0;
    if (depth > 0) {
      A::load(tile_a(step), a + k0 * p.a.k, p.a, rows, depth);
      B::load(tile_a(step) + A::size, b + k0 * p.b.k, p.b, columns, depth);
    }
    dev::commit_copies();
  };

  MmaSums<Tile> sums = {};
  METTLE_UNROLL
  for (int step = 0; step < Tile::stages - 1; ++step) load(step);
  for (int step = 0; step < steps; ++step) {
    dev::wait_copies<Tile::stages - 2>();
    dev::sync_block();
    load(step + Tile::stages - 1);
    multiply_stage<T, Tile, A, B>(sums, tile_a(step), tile_a(step) + A::size);
  }
  dev::wait_copies<0>();
  dev::sync_block();

  const std::int64_t corner = place.c + place.m0 * p.n + place.n0;
  if (p.partial) {
    store_partial<Tile>(sums, static_cast<float*>(p.partial) + corner, p.n, rows, columns,
                        p.c_packs);
    return;
  }
  if (p.bias) add_bias<T, Tile>(sums, p, place, columns);
  store_rounded<T, Tile>(sums, tiles, p, corner, rows, columns);
}

}  // namespace mettle::kernels::cuda
