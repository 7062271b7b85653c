// Tiles of the attention kernels that multiply by plain FMA. A block is 16 x 16 threads (ty, tx).
// With `micro` = M a tile of scores is 16 M x 16 M and thread (ty, tx) owns its elements
// (ty + 16 i, tx + 16 j). Operands lie in shared memory in the type of sums A, rows `pitch` apart,
// in units of 16 bytes of which a row has an odd number: eight lanes that read eight rows then
// touch all 32 banks.
//
// Both products read 16 bytes at a time: for 4 x 4 elements of f32 and four steps 64 FMA and eight
// reads, of which the four of `a` are the same for half a warp: 12 shared-memory cycles for 64 of
// the FMA pipes, 48 for 64 with the four warps that share the memory.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Elements of A in 16 bytes.
template <class A> inline constexpr int simt_width = 16 / static_cast<int>(sizeof(A));
template <class A> using SimtPack = dev::Pack<A, simt_width<A>>;

/// Row distance of operand tiles with so many columns.
template <class A> constexpr int simt_pitch(int cols) {
  return (((cols + simt_width<A> - 1) / simt_width<A>) | 1) * simt_width<A>;
}

/// Sizes of a kernel: head dims up to `Dims`, micro tiles of M x M.
template <class A, int Dims, int M> struct SimtShape {
  using Sum = A;
  static constexpr int dims = Dims, micro = M, rows = 16 * M, threads = 256;
  static constexpr int width = simt_width<A>;
  static constexpr int score_pitch = rows + width;
  static constexpr int score_size = rows * score_pitch;
  static constexpr int groups = (Dims + 16 * width - 1) / (16 * width);

  using Scores = A[M][M];
  /// Rows ty + 16 i, columns (tx + 16 m) * width + e: element [i][m][e].
  using Columns = A[M][groups][width];

  /// Dynamic shared memory for so many tiles of operands and of scores.
  static constexpr int shared_bytes(int operands, int scores, int pitch) {
    const auto padded = [](int count) {
      return (count * static_cast<int>(sizeof(A)) + 127) / 128 * 128;
    };
    return operands * padded(rows * pitch) + scores * padded(score_size);
  }
};

/// Rows of the tile that begins at `first` that exist among `count`.
template <class Shape> METTLE_DEVICE int simt_rows(int first, int count) {
  return dev::minimum(Shape::rows, count - first);
}

METTLE_DEVICE int simt_x() { return dev::thread_rank() % 16; }
METTLE_DEVICE int simt_y() { return dev::thread_rank() / 16; }

/// Rows [first, first + rows) of a head in a tile; zeros below `count` rows and right of `cols`.
template <class Shape>
METTLE_DEVICE void simt_load(typename Shape::Sum* tile, int pitch, DType dtype,
                             const AttentionIn& x, const AttentionHead& head, int first, int count,
                             int cols) {
  using A = typename Shape::Sum;
  const std::int64_t base = head.offset(x);
  for (int r = dev::warp_index(); r < Shape::rows; r += Shape::threads / dev::warp_size)
    for (int c = dev::lane_index(); c < pitch; c += dev::warp_size) {
      const bool inside = first + r < count && c < cols;
      tile[r * pitch + c] =
          inside ? attention_load<A>(dtype, x.data, base + (first + r) * x.row + c) : A(0);
    }
}

/// out += a b^T over `depth` columns of both tiles.
template <class Shape>
METTLE_DEVICE void simt_add_scores(typename Shape::Scores& out, const typename Shape::Sum* a,
                                   const typename Shape::Sum* b, int pitch, int depth) {
  using Pack = SimtPack<typename Shape::Sum>;
  constexpr int M = Shape::micro, width = Shape::width;
  a += simt_y() * pitch;
  b += simt_x() * pitch;
  for (int k = 0; k < depth; k += width) {
    Pack x[M], y[M];
    METTLE_UNROLL
    for (int i = 0; i < M; ++i) {
      x[i] = *reinterpret_cast<const Pack*>(a + 16 * i * pitch + k);
      y[i] = *reinterpret_cast<const Pack*>(b + 16 * i * pitch + k);
    }
    METTLE_UNROLL
    for (int e = 0; e < width; ++e) METTLE_UNROLL
    for (int i = 0; i < M; ++i) METTLE_UNROLL
    for (int j = 0; j < M; ++j) out[i][j] += x[i].at[e] * y[j].at[e];
  }
}

/// out += scores b, over the first `rows` rows of b.
template <class Shape>
METTLE_DEVICE void simt_add_columns(typename Shape::Columns& out, const typename Shape::Sum* scores,
                                    const typename Shape::Sum* b, int pitch, int rows, int cols) {
  using A = typename Shape::Sum;
  using Pack = SimtPack<A>;
  constexpr int M = Shape::micro, width = Shape::width;
  scores += simt_y() * Shape::score_pitch;
  for (int j = 0; j < rows; j += width) {
    Pack x[M];
    METTLE_UNROLL
    for (int i = 0; i < M; ++i)
      x[i] = *reinterpret_cast<const Pack*>(scores + 16 * i * Shape::score_pitch + j);
    METTLE_UNROLL
    for (int m = 0; m < Shape::groups; ++m) {
      const int c = (simt_x() + 16 * m) * width;
      if (c >= cols) continue;
      METTLE_UNROLL
      for (int e = 0; e < width; ++e) {
        const Pack y = *reinterpret_cast<const Pack*>(b + (j + e) * pitch + c);
        METTLE_UNROLL
        for (int i = 0; i < M; ++i) METTLE_UNROLL
        for (int f = 0; f < width; ++f) out[i][m][f] += x[i].at[e] * y.at[f];
      }
    }
  }
}

/// The threads' scores as a tile for simt_add_columns().
template <class Shape>
METTLE_DEVICE void simt_put_scores(typename Shape::Sum* tile,
                                   const typename Shape::Scores& scores) {
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) METTLE_UNROLL
  for (int j = 0; j < Shape::micro; ++j)
    tile[(simt_y() + 16 * i) * Shape::score_pitch + simt_x() + 16 * j] = scores[i][j];
}

/// factor * columns into rows [first, count) of a head, rounded once.
template <class Shape>
METTLE_DEVICE void simt_store(const typename Shape::Columns& columns, typename Shape::Sum factor,
                              DType dtype, const AttentionOut& x, const AttentionHead& head,
                              int first, int count, int cols) {
  const std::int64_t base = head.offset(x);
  METTLE_UNROLL
  for (int i = 0; i < Shape::micro; ++i) {
    const int row = first + simt_y() + 16 * i;
    METTLE_UNROLL
    for (int m = 0; m < Shape::groups; ++m) METTLE_UNROLL
    for (int e = 0; e < Shape::width; ++e) {
      const int c = (simt_x() + 16 * m) * Shape::width + e;
      if (row < count && c < cols)
        attention_store(dtype, x.data, base + row * x.row + c, columns[i][m][e] * factor);
    }
  }
}

/// Sum and maximum over the 16 threads that share rows.
template <class A> METTLE_DEVICE A simt_row_sum(A value, dev::Where where = dev::Where::current()) {
  METTLE_UNROLL
  for (int lanes = 8; lanes > 0; lanes /= 2)
    value += dev::shuffle_xor(dev::full_warp, value, lanes, dev::warp_size, where);
  return value;
}
template <class A> METTLE_DEVICE A simt_row_max(A value, dev::Where where = dev::Where::current()) {
  METTLE_UNROLL
  for (int lanes = 8; lanes > 0; lanes /= 2)
    value =
        dev::maximum(value, dev::shuffle_xor(dev::full_warp, value, lanes, dev::warp_size, where));
  return value;
}

}  // namespace mettle::kernels::cuda
