// Look-ups along an axis and their adjoints, for gather, scatter_add and embeddings.
//
// Look-up: limited by memory, an index and two accesses per element; rows move in units of up to 16
// bytes, four per thread in flight. Adjoint: a list of indices that many columns share is sorted
// once, with the positions of the indices; then each run of equal indices is summed, in the order
// of the positions, by one thread per pack of columns: rows are read once, each result is written
// once, no atomics. Eight rows are in flight, because a run's additions must follow each other: an
// index that most positions share costs n / 8 times the latency of memory. Lists that few positions
// have are walked by one thread per column.
//
// Indices outside of the axis are reported and touch nothing.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/indexing.h"

namespace mettle::kernels::cuda {

inline constexpr int index_threads = 256;
inline constexpr int index_in_flight = 4;

METTLE_DEVICE std::int64_t index_thread() {
  return std::int64_t{dev::block_index().x} * index_threads + dev::thread_index().x;
}

/// (outer, n, columns), counted row-major.
struct Grid3 {
  Divider n, columns;
  std::int64_t total = 0;

  struct Place {
    std::int64_t outer, i, column;
  };
  METTLE_HD Place place(std::int64_t index) const {
    if (total < std::int64_t{1} << 31) return split(static_cast<std::int32_t>(index));
    return split(index);
  }

 private:
  template <class I> METTLE_HD Place split(I index) const {
    const I row = columns(index), outer = n(row);
    return {outer, row - outer * static_cast<I>(n.divisor),
            index - row * static_cast<I>(columns.divisor)};
  }
};

inline Grid3 grid3(std::int64_t outer, std::int64_t n, std::int64_t columns) {
  Grid3 g;
  g.total = outer * n * columns;
  if (g.total > 0) g.n = Divider(n), g.columns = Divider(columns);
  return g;
}

/// A list of indices: where it lies, what it may hold, who hears of others.
template <class Id> struct IndexList {
  const Id* index;
  std::int64_t outer_stride, axis_stride, column_stride;
  std::int64_t size;
  std::int64_t padding;  // an index that is no error and nothing; -1: none
  FaultReporter fault;

  /// The index, or -1 for padding and what was reported.
  METTLE_DEVICE std::int64_t at(const Grid3::Place& p) const {
    const auto id = static_cast<std::int64_t>(
        index[p.outer * outer_stride + p.i * axis_stride + p.column * column_stride]);
    if (id == padding) {
      if (padding != -1) return -1;
    } else if (0 <= id && id < size) {
      return id;
    }
    report_fault(fault, p.i, id);
    return -1;
  }
};

// ---- look-up ------------------------------------------------------------------------------------
/// y(o, i, c) = x(o, index(o, i, c), c), columns counted in units; 0 where there is no index.
template <class Id, class Unit>
METTLE_GLOBAL(index_threads)
void gather_kernel(const Unit* x, Unit* y, Grid3 grid, IndexList<Id> list) {
  const std::int64_t first =
      std::int64_t{dev::block_index().x} * (index_in_flight * index_threads) +
      dev::thread_index().x;
  std::int64_t from[index_in_flight];
  METTLE_UNROLL
  for (int k = 0; k < index_in_flight; ++k) {
    from[k] = -1;
    if (first + k * index_threads >= grid.total) continue;
    const Grid3::Place p = grid.place(first + k * index_threads);
    const std::int64_t id = list.at(p);
    if (id >= 0) from[k] = (p.outer * list.size + id) * grid.columns.divisor + p.column;
  }
  Unit unit[index_in_flight];
  METTLE_UNROLL
  for (int k = 0; k < index_in_flight; ++k) unit[k] = from[k] >= 0 ? x[from[k]] : Unit{};
  METTLE_UNROLL
  for (int k = 0; k < index_in_flight; ++k)
    if (first + k * index_threads < grid.total) y[first + k * index_threads] = unit[k];
}

// ---- adjoint: few positions ---------------------------------------------------------------------
template <class T> METTLE_DEVICE computed_t<T> add_wrapping(computed_t<T> a, computed_t<T> b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

/// Each thread has a column of a y that holds zeros: y(o, index(o, i, c), c) += x(o, i, c), i
/// ascending.
template <class T>
METTLE_GLOBAL(index_threads)
void scatter_columns_kernel(const T* x, T* y, Grid3 grid, IndexList<std::int64_t> list) {
  const std::int64_t thread = index_thread();
  const std::int64_t n = grid.n.divisor, columns = grid.columns.divisor;
  if (thread >= grid.total / n) return;
  Grid3::Place p;
  p.outer = grid.columns(thread);
  p.column = thread - p.outer * columns;
  for (p.i = 0; p.i < n; ++p.i) {
    const std::int64_t id = list.at(p);
    if (id < 0) continue;
    T* to = y + (p.outer * list.size + id) * columns + p.column;
    *to = add_wrapping<T>(*to, x[(p.outer * n + p.i) * columns + p.column]);
  }
}

// ---- adjoint: sorted indices --------------------------------------------------------------------
/// keys(line, i) of the lists that differ; `size` where there is no index.
template <class Id>
METTLE_GLOBAL(index_threads)
void index_keys_kernel(std::uint64_t* keys, Grid3 grid, IndexList<Id> list) {
  const std::int64_t thread = index_thread();
  if (thread >= grid.total) return;
  // Column by column, as lines.
  const std::int64_t n = grid.n.divisor, line = thread / n;
  Grid3::Place p;
  p.i = thread - line * n;
  p.outer = line / grid.columns.divisor;
  p.column = line - p.outer * grid.columns.divisor;
  const std::int64_t id = list.at(p);
  keys[thread] = static_cast<std::uint64_t>(id < 0 ? list.size : id);
}

/// The sorted lists, and the rows that their runs are summed into.
struct Runs {
  const std::uint64_t* keys;  // (lines, n)
  const std::uint32_t* positions;
  std::int64_t lines_of_outer, lines_of_column;  // strides; 0: shared
  std::int64_t size;                             // keys from here on are no index
  const std::uint32_t* row_of;  // of the run that starts at a position; null: the key itself
};

template <int V, class T>
METTLE_DEVICE void add_pack(computed_t<T> (&sum)[V], const dev::Pack<T, V>& pack) {
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) sum[v] = add_wrapping<T>(sum[v], widen(pack.at[v]));
}

template <class Pack, class T>
METTLE_DEVICE Pack* place_of_run(T* y, const Runs& runs, const Grid3::Place& p, std::uint64_t key,
                                 std::int64_t columns) {
  const std::int64_t row =
      runs.row_of != nullptr ? runs.row_of[p.i] : static_cast<std::int64_t>(key);
  return reinterpret_cast<Pack*>(y) + (p.outer * runs.size + row) * columns + p.column;
}

/// y(o, row, c) = the sum of x(o, positions of the run, c), after what y holds if `onto`.
/// Columns are counted in packs. Thread (o, s, c) has the run that starts at s, if one does.
template <int V, bool onto, class T>
METTLE_GLOBAL(index_threads, 1)
void sum_runs_kernel(const T* x, T* y, Grid3 grid, Runs runs) {
  constexpr int in_flight = 8;
  using Pack = dev::Pack<T, V>;
  const std::int64_t thread = index_thread();
  if (thread >= grid.total) return;
  const Grid3::Place p = grid.place(thread);
  const std::int64_t n = grid.n.divisor, columns = grid.columns.divisor;
  const std::int64_t line = (p.outer * runs.lines_of_outer + p.column * runs.lines_of_column) * n;
  const std::uint64_t key = runs.keys[line + p.i];
  if (key >= static_cast<std::uint64_t>(runs.size)) return;
  if (p.i > 0 && runs.keys[line + p.i - 1] == key) return;
  const Pack* from = reinterpret_cast<const Pack*>(x) + p.outer * n * columns + p.column;
  computed_t<T> sum[V] = {};
  if constexpr (onto) {
    const Pack before = *place_of_run<Pack>(y, runs, p, key, columns);
    METTLE_UNROLL
    for (int v = 0; v < V; ++v) sum[v] = widen(before.at[v]);
  }
  const std::uint64_t* keys = runs.keys + line;
  const std::uint32_t* positions = runs.positions + line;
  const auto end = static_cast<int>(n);  // lines are shorter than 2^31
  int s = static_cast<int>(p.i);
  for (int found = in_flight; found == in_flight; s += in_flight) {
    Pack in[in_flight];
    found = 0;
    METTLE_UNROLL
    for (int k = 0; k < in_flight; ++k) {
      const bool mine = k < end - s && keys[s + k] == key;
      in[k] = mine ? from[positions[s + k] * columns] : Pack{};
      found += mine ? 1 : 0;  // those of the run come first
    }
    METTLE_UNROLL
    for (int k = 0; k < in_flight; ++k)
      if (k < found) add_pack<V, T>(sum, in[k]);
  }
  Pack out;
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) out.at[v] = narrow<T>(sum[v]);
  *place_of_run<Pack>(y, runs, p, key, columns) = out;
}

}  // namespace mettle::kernels::cuda
