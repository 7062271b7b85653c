// Triangles of matrices, and substitution: X = T^-1 B for batches of triangular T.
//
// Substitution goes down the rows in panels of 32. With many right-hand sides a thread has a column
// and the panel's 32 elements of it in registers: each element of X that it reads meets 32 elements
// of T, which all threads read together, 8 reads of shared memory for 32 FMAs. With few, a warp has
// a column and a lane a row. The panel's own triangle is a chain of 32 divisions: latency is the
// limit of small systems. Sums run in order.
#pragma once

#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/linalg_tile.cuh"
#include "kernels/cuda/packs.cuh"

namespace mettle::kernels::cuda {

/// `rows` rows of `columns` elements, of matrices of `height` rows; T is any type of that size.
template <class T>
METTLE_GLOBAL(256)
void triangle_rows(const T* x, T* y, std::int64_t rows, std::int64_t height, std::int64_t columns,
                   std::int64_t diagonal, bool lower) {
  const std::int64_t step = std::int64_t{dev::grid_size().x} * 8;
  for (std::int64_t row = std::int64_t{dev::block_index().x} * 8 + dev::warp_index(); row < rows;
       row += step) {
    const std::int64_t on = row % height + diagonal;
    for (std::int64_t column = dev::lane_index(); column < columns; column += dev::warp_size) {
      const bool kept = lower ? column <= on : column >= on;
      y[row * columns + column] = kept ? x[row * columns + column] : T{};
    }
  }
}

/// Rows are in the order of substitution: negative strides turn an upper triangle into a lower one.
template <class T> struct SolveProblem {
  int n;
  std::int64_t columns;
  StridedMatrix<T> t, b;
  T* x;
  std::int64_t x_row, x_batch;
  int column_blocks;
  BatchOffsets batch;
  bool reversed;
  FaultReporter fault;
};

/// One matrix of the batch, and the columns that the block works on.
template <class T> struct SolveTask {
  std::int64_t matrix, column0;
  StridedMatrix<T> t, b;
  T* x;
};

template <class T>
METTLE_DEVICE SolveTask<T> solve_task(const SolveProblem<T>& p, int columns_per_block) {
  const auto matrix = static_cast<std::uint32_t>(dev::block_index().x / p.column_blocks);
  SolveTask<T> task{matrix,
                    std::int64_t{dev::block_index().x % p.column_blocks} * columns_per_block, p.t,
                    p.b, p.x + matrix * p.x_batch};
  std::int64_t t, b;
  p.batch.of(matrix, t, b);
  task.t.data += t;
  task.b.data += b;
  return task;
}

/// Element i of the diagonal, in the order of substitution, is 0.
template <class T>
METTLE_DEVICE void report_singular(const SolveProblem<T>& p, std::int64_t matrix, int i) {
  report_fault(p.fault, matrix, p.reversed ? p.n - 1 - i : i);
}

/// A thread per column.
template <class T, int Threads> METTLE_GLOBAL(Threads, 1) void solve_wide(const SolveProblem<T> p) {
  constexpr int pitch = panel + pack_size<T>;
  METTLE_SHARED(T, tile, panel * pitch);  // (k, row)
  const SolveTask<T> task = solve_task(p, Threads);
  const std::int64_t column = task.column0 + dev::thread_rank();
  const bool active = column < p.columns;
  for (int i0 = 0; i0 < p.n; i0 += panel) {
    const int rows = p.n - i0 < panel ? p.n - i0 : panel;
    T acc[panel];
    METTLE_UNROLL
    for (int i = 0; i < panel; ++i) acc[i] = active && i < rows ? *task.b.at(i0 + i, column) : T(0);
    for (int k0 = 0; k0 <= i0; k0 += panel) {
      dev::sync_block();
      load_transposed<panel, panel, Threads>(tile, pitch, {task.t.at(i0, k0), p.t.row, p.t.column},
                                             rows, k0 < i0 ? panel : rows);
      dev::sync_block();
      if (k0 == i0) break;
      for (int k = 0; k < panel; ++k) {
        const T x = active ? task.x[(k0 + k) * p.x_row + column] : T(0);
        METTLE_UNROLL
        for (int i = 0; i < panel; i += pack_size<T>) {
          T factors[pack_size<T>];
          load_pack(tile + k * pitch + i, factors);
          METTLE_UNROLL
          for (int j = 0; j < pack_size<T>; ++j) acc[i + j] -= factors[j] * x;
        }
      }
    }
    METTLE_UNROLL
    for (int k = 0; k < panel; ++k) {
      if (k >= rows) continue;
      const T diagonal = tile[k * pitch + k];
      if (diagonal == T(0) && dev::thread_rank() == 0 && task.column0 == 0)
        report_singular(p, task.matrix, i0 + k);
      acc[k] /= diagonal;
      METTLE_UNROLL
      for (int i = k + 1; i < panel; ++i) acc[i] -= tile[k * pitch + i] * acc[k];
    }
    METTLE_UNROLL
    for (int i = 0; i < panel; ++i)
      if (active && i < rows) task.x[(i0 + i) * p.x_row + column] = acc[i];
  }
}

/// A warp per column, a lane per row of the panel.
template <class T> METTLE_GLOBAL(128, 1) void solve_narrow(const SolveProblem<T> p) {
  constexpr int pitch = panel + 1, warps = 4;
  METTLE_SHARED(T, tile, panel * pitch);  // (k, row)
  const SolveTask<T> task = solve_task(p, warps);
  const int lane = dev::lane_index();
  const std::int64_t column = task.column0 + dev::warp_index();
  const bool active = column < p.columns;
  for (int i0 = 0; i0 < p.n; i0 += panel) {
    const int rows = p.n - i0 < panel ? p.n - i0 : panel;
    T acc = active && lane < rows ? *task.b.at(i0 + lane, column) : T(0);
    for (int k0 = 0; k0 <= i0; k0 += panel) {
      dev::sync_block();
      load_transposed<panel, panel, 32 * warps>(
          tile, pitch, {task.t.at(i0, k0), p.t.row, p.t.column}, rows, k0 < i0 ? panel : rows);
      dev::sync_block();
      if (k0 == i0) break;
      const T x = active ? task.x[(k0 + lane) * p.x_row + column] : T(0);
      METTLE_UNROLL
      for (int k = 0; k < panel; ++k)
        acc -= tile[k * pitch + lane] * dev::shuffle(dev::full_warp, x, k);
    }
    const T diagonal = lane < rows ? tile[lane * pitch + lane] : T(1);
    if (diagonal == T(0) && column == 0) report_singular(p, task.matrix, i0 + lane);
    METTLE_UNROLL
    for (int k = 0; k < panel; ++k) {
      const T x = dev::shuffle(dev::full_warp, acc / diagonal, k);
      if (lane == k) acc = x;
      if (lane > k) acc -= tile[k * pitch + lane] * x;
    }
    if (active && lane < rows) task.x[(i0 + lane) * p.x_row + column] = acc;
  }
}

}  // namespace mettle::kernels::cuda
