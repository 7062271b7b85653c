// Cholesky factors of batches of matrices, L L^T = (A + A^T) / 2.
//
// Up to 32 rows a warp factors a matrix in registers, lane i holding row i: n^2 / 2 shuffles, and
// many matrices side by side; the limit is the latency of n dependent roots and divisions. Larger
// matrices go panel by panel, a launch for 32 columns: a block takes 64 rows of the panel,
//   S = (A + A^T) / 2 - L[rows, 0..k0] L[panel, 0..k0]^T,
// a product of small tiles in registers, factors the panel's diagonal block in its first warp
// (every block does, none waits for another) and substitutes it into its rows. It reads finished
// columns and writes its own, so that one launch needs nothing of its neighbours. Sums run in
// order.
#pragma once

#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/linalg_tile.cuh"
#include "kernels/cuda/square_root.cuh"

namespace mettle::kernels::cuda {

/// `batch` dense row-major n x n matrices.
template <class T> struct CholeskyProblem {
  int batch, n;
  const T* a;
  T* l;
  std::int64_t* failed;  // [batch]
  FaultReporter fault;
};

/// A fault's value: the pivot's number, and what it is as f32.
METTLE_DEVICE std::int64_t pivot_and_value(int pivot, float value) {
  return std::int64_t{pivot} << 32 | dev::bits_of(value);
}

template <class T>
METTLE_DEVICE void note_failure(const CholeskyProblem<T>& p, int matrix, int pivot, T value) {
  p.failed[matrix] = pivot;
  if (pivot >= 0) report_fault(p.fault, matrix, pivot_and_value(pivot, static_cast<float>(value)));
}

/// Factors the symmetric matrix whose row i lane i holds; elements right of the diagonal become
/// rubbish. Returns -1, or the first pivot that is not positive, which is then on the diagonal.
template <class T> METTLE_DEVICE int factor_in_warp(T (&row)[panel], int n) {
  const int lane = dev::lane_index();
  int failed = -1;
  METTLE_UNROLL
  for (int k = 0; k < panel; ++k) {
    if (k < n && failed < 0) {
      const T pivot = dev::shuffle(dev::full_warp, row[k], k);
      if (pivot > T(0)) {
        const T root = square_root(pivot);
        row[k] = lane == k ? root : row[k] / root;
        METTLE_UNROLL
        for (int j = k + 1; j < panel; ++j)
          row[j] -= row[k] * dev::shuffle(dev::full_warp, row[k], j);
      } else {
        failed = k;
      }
    }
  }
  return failed;
}

template <class T> METTLE_GLOBAL(128) void cholesky_small(const CholeskyProblem<T> p) {
  constexpr int pitch = panel + 1;
  METTLE_SHARED(T, tiles, 4 * panel * pitch);
  T* tile = tiles + dev::warp_index() * panel * pitch;
  const int n = p.n, lane = dev::lane_index(),
            matrix = dev::block_index().x * 4 + dev::warp_index();
  if (matrix >= p.batch) return;
  const T* a = p.a + std::int64_t{matrix} * n * n;
  T* l = p.l + std::int64_t{matrix} * n * n;
  for (int i = lane; i < n * n; i += dev::warp_size) tile[i / n * pitch + i % n] = a[i];
  dev::sync_warp();
  T row[panel];
  METTLE_UNROLL
  for (int j = 0; j < panel; ++j)
    row[j] = lane < n && j < n ? (tile[lane * pitch + j] + tile[j * pitch + lane]) / 2 : T(0);
  const int failed = factor_in_warp(row, n);
  dev::sync_warp();
  METTLE_UNROLL
  for (int j = 0; j < panel; ++j) tile[lane * pitch + j] = j <= lane ? row[j] : T(0);
  dev::sync_warp();
  for (int i = lane; i < n * n; i += dev::warp_size) l[i] = tile[i / n * pitch + i % n];
  if (lane == 0) note_failure(p, matrix, failed, failed < 0 ? T(0) : tile[failed * pitch + failed]);
}

/// Shared memory and shape of a block that works on 64 rows of a panel.
template <class T> struct CholeskyPanel {
  static constexpr int rows = 64, threads = 128, depth = 16, pitch = panel + 1;
  static constexpr int pitch_rows = rows + 4, pitch_panel = panel + 4;
  T *tile_rows, *tile_panel;  // (k, row) of L
  T *s, *diagonal;            // (row, column), of the block's rows and of the diagonal block
};

/// S of the block's rows and of the diagonal block, to shared memory.
template <class T>
METTLE_DEVICE void left_products(const CholeskyPanel<T>& shared, const T* a, const T* l, int n,
                                 int row0, int k0) {
  using P = CholeskyPanel<T>;
  const int rank = dev::thread_rank(), x = rank % 8, y = rank / 8;
  T acc[4][4] = {}, acc_diagonal[2][4] = {};
  for (int k = 0; k < k0; k += P::depth) {
    const StridedMatrix<T> mine{l + std::int64_t{row0} * n + k, n, 1};
    const StridedMatrix<T> common{l + std::int64_t{k0} * n + k, n, 1};
    load_transposed<P::rows, P::depth, P::threads>(shared.tile_rows, P::pitch_rows, mine, n - row0,
                                                   P::depth);
    load_transposed<panel, P::depth, P::threads>(shared.tile_panel, P::pitch_panel, common, n - k0,
                                                 P::depth);
    dev::sync_block();
    METTLE_UNROLL
    for (int q = 0; q < P::depth; ++q) {
      const T* rows = shared.tile_rows + q * P::pitch_rows;
      const T* columns = shared.tile_panel + q * P::pitch_panel;
      METTLE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const T column = columns[x + 8 * j];
        METTLE_UNROLL
        for (int i = 0; i < 4; ++i) acc[i][j] += rows[y + 16 * i] * column;
        METTLE_UNROLL
        for (int i = 0; i < 2; ++i) acc_diagonal[i][j] += columns[y + 16 * i] * column;
      }
    }
    dev::sync_block();
  }
  const auto symmetric = [&](int i, int j) {
    if (i >= n || j >= n) return T(0);
    return (a[std::int64_t{i} * n + j] + a[std::int64_t{j} * n + i]) / 2;
  };
  METTLE_UNROLL
  for (int j = 0; j < 4; ++j) {
    const int column = x + 8 * j;
    METTLE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = y + 16 * i;
      shared.s[row * P::pitch + column] = symmetric(row0 + row, k0 + column) - acc[i][j];
    }
    METTLE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int row = y + 16 * i;
      shared.diagonal[row * P::pitch + column] =
          symmetric(k0 + row, k0 + column) - acc_diagonal[i][j];
    }
  }
}

/// Row `row` of the panel in s, from S to L: of the diagonal block, above it, or below it, where
/// x_j = (s_j - sum_{q<j} x_q l_jq) / l_jj.
template <class T>
METTLE_DEVICE void finish_row(const CholeskyPanel<T>& shared, T* s, int row, int k0, int width) {
  constexpr int pitch = CholeskyPanel<T>::pitch;
  T x[panel];
  METTLE_UNROLL
  for (int j = 0; j < panel; ++j) {
    if (row < k0 + panel) {
      x[j] = row < k0 || k0 + j > row ? T(0) : shared.diagonal[(row - k0) * pitch + j];
    } else if (j < width) {
      x[j] = s[j];
      METTLE_UNROLL
      for (int q = 0; q < j; ++q) x[j] -= x[q] * shared.diagonal[j * pitch + q];
      x[j] /= shared.diagonal[j * pitch + j];
    }
  }
  METTLE_UNROLL
  for (int j = 0; j < panel; ++j)
    if (j < width) s[j] = x[j];
}

/// Columns k0 to k0 + 31 of all factors; grid: (rows / 64) x batch.
template <class T>
METTLE_GLOBAL(CholeskyPanel<T>::threads, 1)
void cholesky_panel(const CholeskyProblem<T> p, int k0, int row_blocks) {
  using P = CholeskyPanel<T>;
  METTLE_SHARED(T, tile_rows, P::depth * P::pitch_rows);
  METTLE_SHARED(T, tile_panel, P::depth * P::pitch_panel);
  METTLE_SHARED(T, s, P::rows * P::pitch);
  METTLE_SHARED(T, diagonal, panel * P::pitch);
  const P shared{tile_rows, tile_panel, s, diagonal};
  const int n = p.n, width = n - k0 < panel ? n - k0 : panel;
  const int matrix = dev::block_index().x / row_blocks;
  const int row0 = dev::block_index().x % row_blocks * P::rows;
  T* l = p.l + std::int64_t{matrix} * n * n;
  int failed = -1;
  if (row0 + P::rows > k0)
    left_products(shared, p.a + std::int64_t{matrix} * n * n, l, n, row0, k0);
  dev::sync_block();
  if (row0 + P::rows > k0 && dev::warp_index() == 0) {
    T row[panel];
    T* own = diagonal + dev::lane_index() * P::pitch;
    METTLE_UNROLL
    for (int j = 0; j < panel; ++j) row[j] = own[j];
    failed = factor_in_warp(row, width);
    METTLE_UNROLL
    for (int j = 0; j < panel; ++j) own[j] = row[j];
  }
  dev::sync_block();
  if (dev::thread_rank() < P::rows)
    finish_row(shared, s + dev::thread_rank() * P::pitch, row0 + dev::thread_rank(), k0, width);
  dev::sync_block();
  for (int i = dev::thread_rank(); i < P::rows * panel; i += P::threads) {
    const int row = i / panel, column = i % panel;
    if (row0 + row < n && column < width)
      l[std::int64_t{row0 + row} * n + k0 + column] = s[row * P::pitch + column];
  }
  // The block with the diagonal, which no other one speaks for; the first failure stays.
  if (dev::thread_rank() == 0 && row0 <= k0 && k0 < row0 + P::rows) {
    if (failed >= 0 && (k0 == 0 || p.failed[matrix] < 0))
      note_failure(p, matrix, k0 + failed, diagonal[failed * P::pitch + failed]);
    else if (k0 == 0)
      note_failure(p, matrix, -1, T(0));
  }
}

}  // namespace mettle::kernels::cuda
