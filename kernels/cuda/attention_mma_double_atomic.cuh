// Attention double backward by mma.sync, in two kernels with atomics: after the tangent of
// attention_mma_double_backward.cuh its sweep by keys makes dq2 as well,
//   dq2 += tau (F k + E y)   over the block's keys, added up in f32
// for which F^T and E^T go through shared memory to become left operands. The sums are dense f32
// (B, H, Nq, D), zero before; their order is that of the blocks, so dq2 differs in rounding from
// run to run.
//
// Products of 2 Nq Nk D FLOP per head: 7 + 10 = 17, two exponentials per score. Bytes beyond those
// of the three kernels: 4 Nq D per key tile to L2 by atomics, 12 Nq D to clear, read and round the
// sums. For a tile of 128 keys the 5 products that it saves are 1280 Nq D FLOP for 4 Nq D bytes of
// atomics: 320 FLOP per byte, where a machine that does 400 TF/s in mma.sync and adds 2.3 TB/s in
// L2 has 170. Prediction, not measured: 0.8 to 0.95 of the time of the three kernels at D = 64, N
// >= 2048.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mma_double_backward.cuh"

namespace mettle::kernels::cuda {

struct MmaDoubleAtomicOperands {
  MmaDoubleOperands x;  // without dq2
  float* dq2;           // (B, H, Nq, D), sums
};

/// F^T or E^T of a tile of queries: the block's keys x queries.
template <class Shape>
using MmaStoredKeys =
    MmaShape<typename Shape::T, Shape::block, Shape::row_tiles, Shape::warps, Shape::block>;

/// Adds tau (F k + E y) of a tile of queries and the block's `keys` keys. A warp has 16 of the
/// queries and a share of the columns.
template <class Shape>
METTLE_DEVICE void mma_add_queries(float* dq2, const AttentionCall<float>& call,
                                   const AttentionHead& head, int query, int keys,
                                   const typename Shape::T* f, const typename Shape::T* k,
                                   const typename Shape::T* e, const typename Shape::T* y) {
  constexpr int strips = Shape::block / 16, columns = Shape::dims * strips / Shape::warps;
  static_assert(Shape::row_tiles == 1 && columns % 16 == 0);
  using Stored = MmaStoredKeys<Shape>;
  const int strip = dev::warp_index() % strips * 16;
  const int column = dev::warp_index() / strips * columns;
  float sum[1][columns / 8][4] = {};
  mma_add_stored<Shape, Stored, true>(sum, f + strip, k + column, 0, keys);
  mma_add_stored<Shape, Stored, true>(sum, e + strip, y + column, 0, keys);
  METTLE_UNROLL
  for (int n = 0; n < columns / 8; ++n) METTLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = query + strip + mma_row() + i / 2 * 8;
    const int c = column + 8 * n + mma_column() + i % 2;
    if (row < call.queries && c < call.head_dim)
      dev::atomic_add(dq2 + (head.index * call.queries + row) * call.head_dim + c,
                      sum[0][n][i] * call.scale);
  }
}

/// Grid: key tiles x heads, tiles fastest.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_double_atomic(const AttentionCall<float> call,
                                 const MmaDoubleAtomicOperands operands, const int tiles) {
  using T = typename Shape::T;
  using Stored = MmaStoredKeys<Shape>;
  dev::SharedCarver carver;
  MmaDoubleKeyTile<Shape, Extras> block;
  block.take(carver, call, tiles);
  T* const f = carver.take<T>(Stored::own_size);
  T* const e = carver.take<T>(Stored::own_size);
  const int keys = dev::minimum(call.keys - block.first, Shape::rows);
  block.sweep(call, operands.x,
              [&](const typename Shape::Scores& f_t, const typename Shape::Scores& e_t, int query) {
                const int own = dev::warp_index() * Shape::warp_rows * Stored::pitch;
                mma_put_scores<Shape, Stored>(f + own, f_t);
                mma_put_scores<Shape, Stored>(e + own, e_t);
                dev::sync_block();  // F^T and E^T are in
                mma_add_queries<Shape>(operands.dq2, call, block.head, query, keys, f, block.k, e,
                                       block.y);
              });
}

}  // namespace mettle::kernels::cuda
