// How the threads of a block share rows: which columns each thread has, where it keeps them, and
// sums along rows and down columns in a fixed order.
//
// A tile is `held` when its threads keep whole rows in registers, as they were loaded: a row is
// read once, whatever happens to it. Rows of up to 1024 columns belong to a warp, so that nobody
// waits for a barrier, longer ones to a block. Rows that do not fit are `streamed`: read again in
// every sweep, which finds them in L2, as all blocks together have a few megabytes of them at work.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/dtype.h"
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/packs.cuh"

namespace mettle::kernels::cuda {

/// `width` neighbours move by one access. `threads` share a row: 32 for a warp. Values: how many
/// each of them keeps, 0: none.
template <class Element, int width_, int values, int threads_> struct RowTile {
  using T = Element;
  using A = accumulate_t<T>;
  static constexpr int width = width_, threads = threads_;
  static constexpr bool held = values > 0;
  static constexpr int packs = held ? values / width : 1;
  static constexpr bool by_warp = threads == dev::warp_size;
  static constexpr int rows = by_warp ? 8 : 1;  // that a block has at a time
  static constexpr int block = threads * rows;
  static_assert(!held || values % width == 0);

  METTLE_DEVICE static int thread() { return by_warp ? dev::lane_index() : dev::thread_rank(); }
  METTLE_DEVICE static int row_of_block() { return by_warp ? dev::warp_index() : 0; }

  /// f(pack, column) for each pack of this thread; a pack starts at its column.
  template <class F> METTLE_DEVICE static void each_pack(std::int64_t columns, const F& f) {
    if constexpr (held) {
      METTLE_UNROLL
      for (int p = 0; p < packs; ++p) {
        const int column = (p * threads + thread()) * width;
        if (column < columns) f(p, column);
      }
    } else {
      for (std::int64_t column = std::int64_t{thread()} * width; column < columns;
           column += threads * width)
        f(0, column);
    }
  }

  /// Sums over a row. `shared` holds 2 * count * warps values; `turn` alternates between 0 and 1
  /// from one call to the next.
  template <int count> METTLE_DEVICE static void row_sums(A (&sums)[count], A* shared, int turn) {
    if constexpr (by_warp) {
      METTLE_UNROLL
      for (int i = 0; i < count; ++i) sums[i] = dev::warp_sum(sums[i]);
    } else {
      block_sums(sums, shared + turn * count * (threads / dev::warp_size));
    }
  }
  /// Values that row_sums() needs.
  template <int count>
  static constexpr int shared_values = by_warp ? 1 : 2 * count*(threads / dev::warp_size);
};

template <class T> METTLE_DEVICE accumulate_t<T> to_accumulate(T value) {
  if constexpr (sizeof(T) == 2)
    return dev::to_float(value);
  else
    return value;
}
template <class T> METTLE_DEVICE T to_storage(accumulate_t<T> value) {
  if constexpr (sizeof(T) == 2)
    return dev::round_to<T>(value);
  else
    return value;
}

/// `width` elements as they are in memory. Those of 16 bits stay two to a register.
template <class T, int width> struct HeldPack {
  static constexpr bool halves = sizeof(T) == 2 && width % 2 == 0;
  using Word = std::conditional_t<halves, std::uint32_t, T>;
  dev::Pack<Word, halves ? width / 2 : width> words;

  METTLE_DEVICE void load(const T* from) {
    words = *reinterpret_cast<const decltype(words)*>(from);
  }
  METTLE_DEVICE accumulate_t<T> get(int i) const {
    if constexpr (halves) {
      T half;
      half.bits = static_cast<std::uint16_t>(words.at[i / 2] >> (i % 2 * 16));
      return dev::to_float(half);
    } else {
      return to_accumulate(words.at[i]);
    }
  }
  METTLE_DEVICE void set(const accumulate_t<T> (&to)[width]) {
    if constexpr (halves) {
      METTLE_UNROLL
      for (int i = 0; i < width; i += 2) words.at[i / 2] = dev::pack_halves<T>(to[i], to[i + 1]);
    } else {
      METTLE_UNROLL
      for (int i = 0; i < width; ++i) words.at[i] = to_storage<T>(to[i]);
    }
  }
};

/// `count` operands of one row, columns of weights among them.
template <class Tile, int count> class RowOperands {
  using T = typename Tile::T;
  using A = typename Tile::A;

 public:
  /// A null operand has `otherwise` everywhere.
  METTLE_DEVICE void load(std::int64_t columns, int k, const T* from, A otherwise = 0) {
    if constexpr (Tile::held) {
      A values[Tile::width];
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) values[i] = otherwise;
      Tile::each_pack(columns, [&](int p, std::int64_t column) {
        if (from)
          kept_[k][p].load(from + column);
        else
          kept_[k][p].set(values);
      });
    } else {
      from_[k] = from;
      otherwise_[k] = otherwise;
    }
  }
  METTLE_DEVICE void get(int k, int p, std::int64_t column, A (&to)[Tile::width]) const {
    if constexpr (Tile::held) {
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) to[i] = kept_[k][p].get(i);
    } else if (from_[k]) {
      load_pack(from_[k] + column, to);
    } else {
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) to[i] = otherwise_[k];
    }
  }
  /// Replaces a pack of a held row; a streamed one changes in memory.
  METTLE_DEVICE void set(int k, int p, const A (&to)[Tile::width]) {
    if constexpr (Tile::held) kept_[k][p].set(to);
  }

 private:
  HeldPack<T, Tile::width> kept_[Tile::held ? count : 1][Tile::packs] = {};
  const T* from_[count] = {};
  A otherwise_[count] = {};
};

template <class P> METTLE_DEVICE P* row_at(P* base, std::int64_t row, std::int64_t columns) {
  return base ? base + row * columns : nullptr;
}

/// The rows of a block: those of one group, so that its sums down the columns belong together.
/// Consecutive blocks have a group's rows in turn.
struct GroupRows {
  std::int64_t rows_per_group;
  int blocks_per_group;  // none has no rows

  METTLE_DEVICE int group() const { return dev::block_index().x / blocks_per_group; }
  /// f(row, turn) for each row of this thread; turn alternates between 0 and 1.
  template <class Tile, class F> METTLE_DEVICE void each_row(const F& f) const {
    const std::int64_t begin = group() * rows_per_group, end = begin + rows_per_group;
    const std::int64_t step = std::int64_t{blocks_per_group} * Tile::rows;
    const int slot = dev::block_index().x % blocks_per_group;
    int turn = 0;
    for (std::int64_t row = begin + std::int64_t{slot} * Tile::rows + Tile::row_of_block();
         row < end; row += step, turn ^= 1)
      f(row, turn);
  }
};

/// Where sums down the columns go: straight to the outputs where one block has all rows of its
/// group, otherwise to partial sums that add_partial_rows() adds.
template <class T, int count> struct ColumnSumsTo {
  accumulate_t<T>* partial;  // [blocks, count, columns], null: straight; streamed tiles need it
  T* out[count];             // [groups, columns], null: not wanted
};

/// `count` sums down each column over the rows of a block.
template <class Tile, int count> class ColumnSums {
  using T = typename Tile::T;
  using A = typename Tile::A;

 public:
  /// What finish() needs of shared memory, in values.
  static constexpr int shared_values =
      Tile::held && Tile::by_warp ? count * Tile::packs * Tile::width * Tile::threads : 1;

  METTLE_DEVICE ColumnSums(const ColumnSumsTo<T, count>& to, std::int64_t columns)
      : to_(to), columns_(columns) {}

  METTLE_DEVICE bool wanted(int k) const { return to_.out[k] != nullptr; }
  METTLE_DEVICE void add(int k, int p, std::int64_t column, const A (&values)[Tile::width]) {
    if constexpr (Tile::held) {
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) kept_[k][p][i] += values[i];
    } else {
      A* at = place(k) + column;
      A sum[Tile::width] = {};
      if (!first_) load_pack(at, sum);
      METTLE_UNROLL
      for (int i = 0; i < Tile::width; ++i) sum[i] += values[i];
      store_pack(at, sum);
    }
  }
  METTLE_DEVICE void next_row() { first_ = false; }
  /// The whole block, after its last row.
  METTLE_DEVICE void finish(A* shared, int group) {
    if constexpr (Tile::held) {
      if (!wanted(0) && !wanted(count - 1)) return;
      if constexpr (Tile::by_warp) add_warps(shared);
      if (Tile::row_of_block() == Tile::rows - 1) write(group);
    }
  }

 private:
  static constexpr int kept = Tile::held ? count : 1;

  METTLE_DEVICE A* place(int k) const {
    return to_.partial + (std::int64_t{dev::block_index().x} * count + k) * columns_;
  }
  // The last warp ends with the sums over the block: ((first + second) + third) + ....
  METTLE_DEVICE void add_warps(A* shared) {
    for (int warp = 0; warp < Tile::rows - 1; ++warp) {
      if (dev::warp_index() == warp)
        each_value(shared, [&](A& value, A& at) { at = warp == 0 ? value : at + value; });
      dev::sync_block();
    }
    if (dev::warp_index() == Tile::rows - 1)
      each_value(shared, [](A& value, A& at) { value += at; });
  }
  template <class F> METTLE_DEVICE void each_value(A* shared, const F& f) {
    METTLE_UNROLL
    for (int k = 0; k < kept; ++k) {
      METTLE_UNROLL
      for (int p = 0; p < Tile::packs; ++p) {
        METTLE_UNROLL
        for (int i = 0; i < Tile::width; ++i) {
          const int place = (k * Tile::packs + p) * Tile::width + i;
          f(kept_[k][p][i], shared[place * Tile::threads + Tile::thread()]);
        }
      }
    }
  }
  METTLE_DEVICE void write(int group) const {
    METTLE_UNROLL
    for (int k = 0; k < kept; ++k) {
      if (!wanted(k)) continue;
      Tile::each_pack(columns_, [&](int p, std::int64_t column) {
        if (to_.partial)
          store_pack(place(k) + column, kept_[k][p]);
        else
          store_pack(to_.out[k] + group * columns_ + column, kept_[k][p]);
      });
    }
  }

  ColumnSumsTo<T, count> to_;
  std::int64_t columns_;
  bool first_ = true;
  A kept_[kept][Tile::packs][Tile::width] = {};
};

}  // namespace mettle::kernels::cuda
