// Tiles of the attention kernels that multiply by mma.sync m16n8k16, in bf16 or f16 with sums in
// f32. A warp owns 16 * MT rows of a tile of scores with NT * 8 columns, in the fragments of the
// instruction: element (m, n, e) of a lane is row 16 m + 8 (e / 2) + lane / 4, column
// 8 n + 2 (lane % 4) + e % 2. They are at the same time the left operand of the next product.
//
// Operands lie in shared memory with rows of Dims + 8 elements: an odd number of 16-byte units, so
// that the eight rows of an ldmatrix touch all banks once. Head dims below Dims are filled with
// zeros. What a warp reads as left operand are its own rows.
//
// Why 32 rows per warp where registers allow: a right operand read once serves MT * 16 rows. With
// 16 rows that is 16 FLOP per byte of shared memory, about 470 TF/s on an H100 at 30 TB/s, below
// what the instruction can do; with 32 rows it is not the limit.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Head dims up to Dims; a block of Warps warps owns 16 * MT * Warps rows and walks over Block rows
/// of the other side at a time.
template <class Type, int Dims, int MT, int Warps, int Block> struct MmaShape {
  using T = Type;
  static constexpr int dims = Dims, pitch = Dims + 8;
  static constexpr int row_tiles = MT, warps = Warps, threads = 32 * Warps;
  static constexpr int warp_rows = 16 * MT, rows = warp_rows * Warps;
  static constexpr int block = Block, column_tiles = Block / 8;
  static constexpr int own_size = rows * pitch, block_size = Block * pitch;
  static_assert(Dims % 16 == 0 && Block % 16 == 0);

  using Scores = float[MT][Block / 8][4];
  using Columns = float[MT][Dims / 8][4];

  /// Dynamic shared memory of so many tiles of own rows, of `walked` operands in so many stages,
  /// and of other bytes.
  static constexpr std::size_t shared_bytes(int own, int walked, int stages, std::size_t more = 0) {
    const auto padded = [](std::size_t bytes) { return (bytes + 127) / 128 * 128; };
    return own * padded(own_size * 2) +
           walked * padded(static_cast<std::size_t>(stages) * block_size * 2) + padded(more);
  }
};

/// Where a lane's fragments begin in a tile of scores.
METTLE_DEVICE int mma_row() { return dev::lane_index() / 4; }
METTLE_DEVICE int mma_column() { return dev::lane_index() % 4 * 2; }

/// Calls f(m, n, e) for every element of a lane.
template <class Shape, class F> METTLE_DEVICE void mma_each(F&& f) {
  METTLE_UNROLL
  for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
  for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
  for (int e = 0; e < 4; ++e) f(m, n, e);
}
/// Calls f(m, h) for every row of a lane, row 16 m + 8 h of its first.
template <class Shape, class F> METTLE_DEVICE void mma_each_row(F&& f) {
  METTLE_UNROLL
  for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
  for (int h = 0; h < 2; ++h) f(m, h);
}

/// Starts the copy of rows [first, first + Rows) of a head: zeros below `count` rows and right of
/// `cols`. Rows are aligned to 16 bytes and x.data is not null.
template <class Shape, int Rows>
METTLE_DEVICE void mma_load(typename Shape::T* tile, const AttentionIn& x,
                            const AttentionHead& head, int first, int count, int cols) {
  using T = typename Shape::T;
  constexpr int packs = Shape::dims / 8;
  // A power of 2 of threads per row, so that a thread stays in its column and goes down in steps.
  constexpr int across = packs <= 4 ? 4 : packs <= 8 ? 8 : 16;
  constexpr int step = Shape::threads / across;
  static_assert(Rows % step == 0 || step % Rows == 0);
  const int r = dev::thread_rank() / across, c = dev::thread_rank() % across * 8;
  if (c >= Shape::dims || r >= Rows) return;
  const T* const base = static_cast<const T*>(x.data);
  const T* source = base + head.offset(x) + (first + r) * x.row + c;
  METTLE_UNROLL
  for (int i = 0; i < Rows; i += step) {
    const bool inside = first + r + i < count && c < cols;
    dev::copy_async<16>(tile + (r + i) * Shape::pitch + c, inside ? source : base, inside ? 16 : 0);
    source += step * x.row;
  }
}

/// Starts the copy of the statistics of rows [first, first + Count) of a head with `count` rows:
/// zeros below the last.
template <int Count, class Statistics>
METTLE_DEVICE void mma_load_statistics(Statistics* to, const Statistics* from,
                                       const AttentionHead& head, int first, int count) {
  constexpr int bytes = static_cast<int>(sizeof(Statistics));
  const int r = dev::thread_rank();
  if (r >= Count) return;
  const bool inside = first + r < count;
  dev::copy_async<bytes>(to + r, inside ? from + head.index * count + first + r : from,
                         inside ? bytes : 0);
}

/// The left operand 16 rows x 16 columns at column k.
template <class Shape>
METTLE_DEVICE void mma_left(std::uint32_t (&a)[4], const typename Shape::T* rows, int k) {
  const int lane = dev::lane_index();
  dev::load_matrices(a, rows + lane % 16 * Shape::pitch + k + lane / 16 * 8);
}

/// The left operand 16 rows x 16 columns of the transpose of `columns`: its rows k to k + 15 and 16
/// of its columns.
template <class Shape>
METTLE_DEVICE void mma_left_transposed(std::uint32_t (&a)[4], const typename Shape::T* columns,
                                       int k) {
  const int lane = dev::lane_index();
  dev::load_matrices_transposed(
      a, columns + (k + lane / 16 * 8 + lane % 8) * Shape::pitch + lane / 8 % 2 * 8);
}

/// A warp's own rows of an operand in registers, or, when those are too few, where they lie.
template <class Shape, bool InRegisters> struct MmaLeft {
  std::uint32_t a[Shape::row_tiles][Shape::dims / 16][4] = {};
  METTLE_DEVICE void load(const typename Shape::T* rows) {
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
    for (int k = 0; k < Shape::dims / 16; ++k)
      mma_left<Shape>(a[m][k], rows + 16 * m * Shape::pitch, 16 * k);
  }
  METTLE_DEVICE void get(std::uint32_t (&to)[4], int m, int k) const {
    METTLE_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = a[m][k][i];
  }
};
template <class Shape> struct MmaLeft<Shape, false> {
  const typename Shape::T* at = nullptr;
  METTLE_DEVICE void load(const typename Shape::T* rows) { at = rows; }
  METTLE_DEVICE void get(std::uint32_t (&to)[4], int m, int k) const {
    mma_left<Shape>(to, at + 16 * m * Shape::pitch, 16 * k);
  }
};

/// out += left right^T over the head dims; `right` is a tile of Shape::block rows.
template <class Shape, bool InRegisters>
METTLE_DEVICE void mma_add_scores(typename Shape::Scores& out,
                                  const MmaLeft<Shape, InRegisters>& left,
                                  const typename Shape::T* right) {
  using T = typename Shape::T;
  const int lane = dev::lane_index();
  right += (lane / 16 * 8 + lane % 8) * Shape::pitch + lane / 8 % 2 * 8;
  METTLE_UNROLL
  for (int k = 0; k < Shape::dims / 16; ++k) {
    std::uint32_t a[Shape::row_tiles][4];
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) left.get(a[m], m, k);
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; n += 2) {
      std::uint32_t b[4];
      dev::load_matrices(b, right + 8 * n * Shape::pitch + 16 * k);
      METTLE_UNROLL
      for (int m = 0; m < Shape::row_tiles; ++m) {
        dev::multiply_add<T>(out[m][n], a[m], b[0], b[1]);
        dev::multiply_add<T>(out[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}
/// The same with the left operand where it lies.
template <class Shape>
METTLE_DEVICE void mma_add_scores(typename Shape::Scores& out, const typename Shape::T* left,
                                  const typename Shape::T* right) {
  MmaLeft<Shape, false> rows;
  rows.load(left);
  mma_add_scores<Shape>(out, rows, right);
}

/// Two products with the same right operand, which is read once: with 16 rows per warp that halves
/// the traffic of shared memory as 32 rows would.
template <class Shape>
METTLE_DEVICE void mma_add_two_scores(typename Shape::Scores& out0, const typename Shape::T* left0,
                                      typename Shape::Scores& out1, const typename Shape::T* left1,
                                      const typename Shape::T* right) {
  using T = typename Shape::T;
  const int lane = dev::lane_index();
  right += (lane / 16 * 8 + lane % 8) * Shape::pitch + lane / 8 % 2 * 8;
  METTLE_UNROLL
  for (int k = 0; k < Shape::dims / 16; ++k) {
    std::uint32_t a[2][Shape::row_tiles][4];
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) {
      mma_left<Shape>(a[0][m], left0 + 16 * m * Shape::pitch, 16 * k);
      mma_left<Shape>(a[1][m], left1 + 16 * m * Shape::pitch, 16 * k);
    }
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; n += 2) {
      std::uint32_t b[4];
      dev::load_matrices(b, right + 8 * n * Shape::pitch + 16 * k);
      METTLE_UNROLL
      for (int m = 0; m < Shape::row_tiles; ++m) {
        dev::multiply_add<T>(out0[m][n], a[0][m], b[0], b[1]);
        dev::multiply_add<T>(out0[m][n + 1], a[0][m], b[2], b[3]);
        dev::multiply_add<T>(out1[m][n], a[1][m], b[0], b[1]);
        dev::multiply_add<T>(out1[m][n + 1], a[1][m], b[2], b[3]);
      }
    }
  }
}

/// Columns 16 k to 16 k + 15 of 16 rows of scores as a left operand.
template <class T, int Tiles>
METTLE_DEVICE void mma_pack(std::uint32_t (&a)[4], const float (&scores)[Tiles][4], int k) {
  METTLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float(&four)[4] = scores[2 * k + i / 2];
    a[i] = dev::pack_halves<T>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
  }
}

/// out += left right: 16 columns of `left`, 16 rows of `right`, which is the lane's place in them.
template <class Shape, int Tiles>
METTLE_DEVICE void mma_add_sixteen(float (&out)[Shape::row_tiles][Tiles][4],
                                   const std::uint32_t (&left)[Shape::row_tiles][4],
                                   const typename Shape::T* right) {
  METTLE_UNROLL
  for (int n = 0; n < Tiles; n += 2) {
    std::uint32_t b[4];
    dev::load_matrices_transposed(b, right + 8 * n);
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) {
      dev::multiply_add<typename Shape::T>(out[m][n], left[m], b[0], b[1]);
      dev::multiply_add<typename Shape::T>(out[m][n + 1], left[m], b[2], b[3]);
    }
  }
}

/// out += scores right, over the Shape::block rows of `right`.
template <class Shape>
METTLE_DEVICE void mma_add_columns(typename Shape::Columns& out,
                                   const typename Shape::Scores& scores,
                                   const typename Shape::T* right) {
  const int lane = dev::lane_index();
  right += lane % 16 * Shape::pitch + lane / 16 * 8;
  METTLE_UNROLL
  for (int k = 0; k < Shape::block / 16; ++k) {
    std::uint32_t a[Shape::row_tiles][4];
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) mma_pack<typename Shape::T>(a[m], scores[m], k);
    mma_add_sixteen<Shape>(out, a, right + 16 * k * Shape::pitch);
  }
}

/// Scores in 16 bits into a tile of another shape, from the warp's first element on.
template <class Shape, class Stored>
METTLE_DEVICE void mma_put_scores(typename Shape::T* tile, const typename Shape::Scores& scores) {
  tile += mma_row() * Stored::pitch + mma_column();
  mma_each_row<Shape>([&](int m, int h) {
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n)
      *reinterpret_cast<std::uint32_t*>(tile + (16 * m + 8 * h) * Stored::pitch + 8 * n) =
          dev::pack_halves<typename Shape::T>(scores[m][n][2 * h], scores[m][n][2 * h + 1]);
  });
}
/// out += left right over the rows [begin, end) of `right`, where `begin` is a multiple of 16 and
/// `end` is rounded up to one; `left` are the warp's rows of such a tile or, transposed, its
/// columns.
template <class Shape, class Stored, bool Transposed, int Tiles>
METTLE_DEVICE void mma_add_stored(float (&out)[Shape::row_tiles][Tiles][4],
                                  const typename Shape::T* left, const typename Shape::T* right,
                                  int begin, int end) {
  const int lane = dev::lane_index();
  right += lane % 16 * Shape::pitch + lane / 16 * 8;
  for (int k = begin; k < end; k += 16) {
    std::uint32_t a[Shape::row_tiles][4];
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) {
      if constexpr (Transposed)
        mma_left_transposed<Stored>(a[m], left + 16 * m, k);
      else
        mma_left<Stored>(a[m], left + 16 * m * Stored::pitch, k);
    }
    mma_add_sixteen<Shape>(out, a, right + k * Shape::pitch);
  }
}

/// factor * columns into rows [first, count) of a head, `first` the warp's first, and its columns
/// [left, cols). `stage` are the warp's own rows of a tile that nobody needs more, from column
/// `left` on: through them rows leave in packs of 16 bytes.
template <class Shape, int Tiles>
METTLE_DEVICE void mma_store(const float (&columns)[Shape::row_tiles][Tiles][4], float factor,
                             typename Shape::T* stage, const AttentionOut& x,
                             const AttentionHead& head, int first, int count, int cols,
                             int left = 0) {
  using T = typename Shape::T;
  using Pack = dev::Pack<T, 8>;
  const int lane = dev::lane_index();
  dev::sync_warp();  // the rows were read by other lanes
  METTLE_UNROLL
  for (int m = 0; m < Shape::row_tiles; ++m) METTLE_UNROLL
  for (int n = 0; n < Tiles; ++n) METTLE_UNROLL
  for (int h = 0; h < 2; ++h)
    *reinterpret_cast<std::uint32_t*>(stage + (16 * m + 8 * h + mma_row()) * Shape::pitch + 8 * n +
                                      mma_column()) =
        dev::pack_halves<T>(columns[m][n][2 * h] * factor, columns[m][n][2 * h + 1] * factor);
  dev::sync_warp();  // the rows are staged
  T* const base = static_cast<T*>(x.data) + head.offset(x) + left;
  for (int i = lane; i < Shape::warp_rows * Tiles; i += dev::warp_size) {
    const int r = i / Tiles, c = i % Tiles * 8;
    if (first + r < count && left + c < cols)
      *reinterpret_cast<Pack*>(base + (first + r) * x.row + c) =
          *reinterpret_cast<const Pack*>(stage + r * Shape::pitch + c);
  }
}

/// Sum and maximum over the four lanes that share rows.
METTLE_DEVICE float mma_row_sum(float value, dev::Where where = dev::Where::current()) {
  value += dev::shuffle_xor(dev::full_warp, value, 1, dev::warp_size, where);
  return value + dev::shuffle_xor(dev::full_warp, value, 2, dev::warp_size, where);
}
METTLE_DEVICE float mma_row_max(float value, dev::Where where = dev::Where::current()) {
  value = dev::maximum(value, dev::shuffle_xor(dev::full_warp, value, 1, dev::warp_size, where));
  return dev::maximum(value, dev::shuffle_xor(dev::full_warp, value, 2, dev::warp_size, where));
}

}  // namespace mettle::kernels::cuda
