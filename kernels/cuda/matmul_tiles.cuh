// Matrix products on the ordinary cores (variant "simt"): f64, f32, and 16-bit types whose layout
// the matrix instructions cannot read.
//
// Limit. An SM of an H100 starts 128 f32 FMAs a clock and reads 128 bytes of shared memory. A
// thread of the 128 x 128 tile makes 64 FMAs for the 16 numbers that it reads, which takes a warp
// 16 clocks of the FMA units and 6 of shared memory (rows of A are broadcast), and the block reads
// 2 x 128 x 4 bytes from memory for 2 x 128 x 128 FLOPs a step of k: 32 FLOP/byte, which L2 serves
// to neighbours 8 times (matmul_place). So FMAs are the limit where both tiles are full. Small
// tiles are for small matrices, where the time is latency: 16 x 32 reads a whole product of a small
// layer in one or two steps.
//
// Both operands reach shared memory as (k, outer), so that a thread reads its rows and columns by
// 16-byte accesses; the next step's elements wait in registers while the current one is multiplied.
// Every sum runs over k in order: the bits depend on the plan, and the plan on the shape alone.
#pragma once

#include "kernels/cuda/matmul_epilogue.cuh"

namespace mettle::kernels::cuda {

/// M x N of C per block, K columns of A per step, ThreadM x ThreadN of C per thread; Resident
/// blocks fit on a multiprocessor.
template <int M, int N, int K, int ThreadM, int ThreadN, int Resident> struct MatmulTile {
  static constexpr int m = M, n = N, k = K, thread_m = ThreadM, thread_n = ThreadN;
  static constexpr int resident = Resident;
  static constexpr int threads_n = N / ThreadN;
  static constexpr int threads = M / ThreadM * threads_n;
};
using LargeTile = MatmulTile<128, 128, 8, 8, 8, 2>;
template <class T> using MediumTile = MatmulTile<64, 64, sizeof(T) == 8 ? 8 : 16, 4, 4, 2>;
template <class T> using SmallTile = MatmulTile<16, 32, sizeof(T) == 8 ? 16 : 32, 1, 4, 6>;

/// One thread's share of an operand's tile, on its way from device to shared memory, N neighbours
/// at a time.
template <class T, class Tile, int Outer, bool Packs> class TileShare {
 public:
  using Acc = accumulate_t<T>;
  static constexpr int count = Outer * Tile::k / Tile::threads;
  static constexpr int pack = !Packs ? 1 : count < pack_size<T> ? count : pack_size<T>;
  static constexpr int pitch = Outer + pack_size<Acc>;  // of the tile (k, outer) in shared memory

  /// Elements (k, outer) from `from` on; zeros beyond `outers` and `depth`.
  METTLE_DEVICE void load(const T* from, const MatmulOperand& operand, int outers, int depth) {
    each_pack(operand.along_k, [&]<bool AlongK>(int held, Place own, Place more) {
      Pack values{};
      if (own.outer + more.outer < outers && own.k + more.k < depth) {
        const T* at = from + own.outer * operand.outer + own.k * operand.k;
        values =
            *reinterpret_cast<const Pack*>(at + (more.outer * operand.outer + more.k * operand.k));
      }
      METTLE_UNROLL
      for (int i = 0; i < pack; ++i) held_[held + i] = values.at[i];
    });
  }

  METTLE_DEVICE void store(Acc* tile, bool along_k) const {
    each_pack(along_k, [&]<bool AlongK>(int held, Place own, Place more) {
      Acc* at = tile + (own.k + more.k) * pitch + own.outer + more.outer;
      constexpr int width = AlongK ? 1 : pack < pack_size<Acc> ? pack : pack_size<Acc>;
      METTLE_UNROLL
      for (int i = 0; i < pack; i += width) {
        Acc values[width];
        METTLE_UNROLL
        for (int j = 0; j < width; ++j) values[j] = wide(held_[held + i + j]);
        store_pack(at + i * (AlongK ? pitch : 1), values);
      }
    });
  }

 private:
  using Pack = dev::Pack<T, pack>;

  METTLE_DEVICE static Acc wide(T value) {
    if constexpr (sizeof(T) == 2)
      return dev::to_float(value);
    else
      return value;
  }

  struct Place {
    int outer, k;
  };

  // Along k, lanes cover up to 16 elements of a row and then the next row: 64 bytes of f32
  // together, and their stores to shared memory meet at most two in a bank.
  template <bool AlongK> METTLE_DEVICE static constexpr Place place_of(int index) {
    constexpr int run = Tile::k < 16 ? Tile::k : 16, across = run / pack;
    if (AlongK)
      return {index / across % Outer, index / across / Outer * run + index % across * pack};
    return {index % (Outer / pack) * pack, index / (Outer / pack)};
  }
  // Calls f<AlongK>(held, own, more) for every pack of this thread, which is at the sum of the two
  // places: all extents are powers of two. `more` is the same for all threads.
  template <class F> METTLE_DEVICE static void each_pack(bool along_k, F&& f) {
    if (along_k)
      each_of<true>(f);
    else
      each_of<false>(f);
  }
  template <bool AlongK, class F> METTLE_DEVICE static void each_of(F&& f) {
    const Place own = place_of<AlongK>(dev::thread_rank());
    METTLE_UNROLL
    for (int held = 0; held < count; held += pack)
      f.template operator()<AlongK>(held, own, place_of<AlongK>(held / pack * Tile::threads));
  }

  T held_[count];
};

/// The rows or columns of a tile that belong to one thread: groups of neighbours that one 16-byte
/// access moves, as far from each other as neighbouring threads leave no gap.
template <class Acc, int Count, int Threads> struct ThreadLines {
  static constexpr int width = Count < pack_size<Acc> ? Count : pack_size<Acc>;
  METTLE_DEVICE static int at(int thread, int i) {
    return i / width * width * Threads + thread * width + i % width;
  }
  METTLE_DEVICE static void load(Acc (&to)[Count], const Acc* lines, int thread) {
    METTLE_UNROLL
    for (int i = 0; i < Count; i += width) {
      const auto pack = *reinterpret_cast<const dev::Pack<Acc, width>*>(lines + at(thread, i));
      METTLE_UNROLL
      for (int j = 0; j < width; ++j) to[i + j] = pack.at[j];
    }
  }
};

template <class T, class Tile, bool Packs> struct TileTypes {
  using Acc = accumulate_t<T>;
  using ShareA = TileShare<T, Tile, Tile::m, Packs>;
  using ShareB = TileShare<T, Tile, Tile::n, Packs>;
  using Rows = ThreadLines<Acc, Tile::thread_m, Tile::threads / Tile::threads_n>;
  using Columns = ThreadLines<Acc, Tile::thread_n, Tile::threads_n>;
};

/// Adds the bias to the thread's part of the tile.
template <class T, class Types, class Tile>
METTLE_DEVICE void add_bias(typename Types::Acc (&acc)[Tile::thread_m][Tile::thread_n],
                            const MatmulProblem& p, const MatmulPlace& place, int columns) {
  using Columns = typename Types::Columns;
  const int column_thread = dev::thread_rank() % Tile::threads_n;
  METTLE_UNROLL
  for (int j = 0; j < Tile::thread_n; j += Columns::width) {
    typename Types::Acc bias[Columns::width];
    load_bias<T>(p, place, Columns::at(column_thread, j), columns, bias);
    METTLE_UNROLL
    for (int i = 0; i < Tile::thread_m; ++i) {
      METTLE_UNROLL
      for (int q = 0; q < Columns::width; ++q) acc[i][j + q] += bias[q];
    }
  }
}

/// Writes the thread's part of the tile, whose first element is c[0]; `rows` and `columns` are
/// left.
template <class Types, class Tile, class Out>
METTLE_DEVICE void store_products(const typename Types::Acc (&acc)[Tile::thread_m][Tile::thread_n],
                                  Out* c, std::int64_t pitch, int rows, int columns, bool packs) {
  using Columns = typename Types::Columns;
  const int row_thread = dev::thread_rank() / Tile::threads_n;
  const int column_thread = dev::thread_rank() % Tile::threads_n;
  METTLE_UNROLL
  for (int i = 0; i < Tile::thread_m; ++i) {
    const int row = Types::Rows::at(row_thread, i);
    if (row >= rows) continue;
    METTLE_UNROLL
    for (int j = 0; j < Tile::thread_n; j += Columns::width) {
      const int column = Columns::at(column_thread, j);
      Out* to = c + row * pitch + column;
      typename Types::Acc values[Columns::width];
      METTLE_UNROLL
      for (int q = 0; q < Columns::width; ++q) values[q] = acc[i][j + q];
      if (packs && column < columns) {
        store_pack(to, values);
      } else {
        METTLE_UNROLL
        for (int q = 0; q < Columns::width; ++q)
          if (column + q < columns) store_one(to + q, values[q]);
      }
    }
  }
}

/// acc += the product of two tiles in shared memory.
template <class Types, class Tile, class Acc>
METTLE_DEVICE void multiply_tiles(Acc (&acc)[Tile::thread_m][Tile::thread_n], const Acc* a,
                                  const Acc* b) {
  const int row_thread = dev::thread_rank() / Tile::threads_n;
  const int column_thread = dev::thread_rank() % Tile::threads_n;
  METTLE_UNROLL
  for (int k = 0; k < Tile::k; ++k) {
    Acc rows[Tile::thread_m], columns[Tile::thread_n];
    Types::Rows::load(rows, a + k * Types::ShareA::pitch, row_thread);
    Types::Columns::load(columns, b + k * Types::ShareB::pitch, column_thread);
    METTLE_UNROLL
    for (int i = 0; i < Tile::thread_m; ++i) {
      METTLE_UNROLL
      for (int j = 0; j < Tile::thread_n; ++j) acc[i][j] += rows[i] * columns[j];
    }
  }
}

template <class T, class Tile, bool Packs>
METTLE_GLOBAL(Tile::threads, Packs ? Tile::resident : (Tile::resident + 1) / 2)
void matmul_tiles(const MatmulProblem p) {
  using Types = TileTypes<T, Tile, Packs>;
  using Acc = typename Types::Acc;
  constexpr int size_a = Tile::k * Types::ShareA::pitch, size_b = Tile::k * Types::ShareB::pitch;
  METTLE_SHARED(Acc, tiles_a, 2 * size_a);
  METTLE_SHARED(Acc, tiles_b, 2 * size_b);
  const MatmulPlace place = matmul_place<Tile::m, Tile::n>(p);
  const int rows = at_most(p.m - place.m0, Tile::m), columns = at_most(p.n - place.n0, Tile::n);
  const T* a = static_cast<const T*>(p.a.data) + place.a + place.m0 * p.a.outer;
  const T* b = static_cast<const T*>(p.b.data) + place.b + place.n0 * p.b.outer;
  typename Types::ShareA share_a;
  typename Types::ShareB share_b;
  const auto load = [&](std::int64_t k0) {
    const int depth = at_most(place.k_end - k0, Tile::k);
    share_a.load(a + k0 * p.a.k, p.a, rows, depth);
    share_b.load(b + k0 * p.b.k, p.b, columns, depth);
  };

  Acc acc[Tile::thread_m][Tile::thread_n] = {};
  load(place.k_begin);
  int stage = 0;
  for (std::int64_t k0 = place.k_begin; k0 < place.k_end; k0 += Tile::k) {
    share_a.store(tiles_a + stage * size_a, p.a.along_k);
    share_b.store(tiles_b + stage * size_b, p.b.along_k);
    dev::sync_block();
    if (k0 + Tile::k < place.k_end) load(k0 + Tile::k);
    multiply_tiles<Types, Tile>(acc, tiles_a + stage * size_a, tiles_b + stage * size_b);
    stage ^= 1;
  }

  if (p.bias && !p.partial) add_bias<T, Types, Tile>(acc, p, place, columns);
  const std::int64_t corner = place.c + place.m0 * p.n + place.n0;
  if (std::is_same_v<T, Acc> || p.partial)
    store_products<Types, Tile>(acc, static_cast<Acc*>(p.partial ? p.partial : p.c) + corner, p.n,
                                rows, columns, p.c_packs);
  else
    store_products<Types, Tile>(acc, static_cast<T*>(p.c) + corner, p.n, rows, columns, p.c_packs);
}

}  // namespace mettle::kernels::cuda
