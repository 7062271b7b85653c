// Triangles, Cholesky factors and substitution on CUDA: launches.
#include "kernels/linalg.h"

#include <algorithm>

#include "kernels/cpu/linalg_check.h"
#include "kernels/cuda/cholesky.cuh"
#include "kernels/cuda/linalg_faults.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/triangular.cuh"
#include "kernels/layout.h"

namespace mettle::kernels::cuda {
namespace {

template <class T> void run_triangle_typed(const Stream& stream, const TriangleArgs& a) {
  const std::int64_t rows = a.batch * a.rows;
  if (rows == 0 || a.columns == 0) return;
  const int blocks = static_cast<int>(std::min<std::int64_t>((rows + 7) / 8, 1 << 20));
  dev::launch(triangle_rows<T>, {{blocks}, {256}}, stream, static_cast<const T*>(a.x),
              static_cast<T*>(a.y), rows, a.rows, a.columns, a.diagonal,
              a.triangle == Triangle::lower);
}

void run_triangle(const Stream& stream, const TriangleArgs& a) {
  switch (size_of(a.dtype)) {
    case 8: return run_triangle_typed<std::uint64_t>(stream, a);
    case 4: return run_triangle_typed<std::uint32_t>(stream, a);
    case 2: return run_triangle_typed<std::uint16_t>(stream, a);
    default: return run_triangle_typed<std::uint8_t>(stream, a);
  }
}

template <class T> void run_cholesky_typed(const Stream& stream, const CholeskyArgs& a) {
  if (a.batch == 0 || a.n == 0) return;
  const CholeskyProblem<T> p{static_cast<int>(a.batch),
                             static_cast<int>(a.n),
                             static_cast<const T*>(a.a),
                             static_cast<T*>(a.l),
                             a.failed,
                             fault_reporter(stream, explain_cholesky, a.n)};
  if (a.n <= panel) return dev::launch(cholesky_small<T>, {{(p.batch + 3) / 4}, {128}}, stream, p);
  const int row_blocks = (p.n + CholeskyPanel<T>::rows - 1) / CholeskyPanel<T>::rows;
  for (int k0 = 0; k0 < p.n; k0 += panel)
    dev::launch(cholesky_panel<T>, {{row_blocks * p.batch}, {CholeskyPanel<T>::threads}}, stream, p,
                k0, row_blocks);
}

template <class T> void run_solve_typed(const Stream& stream, const TriangularSolveArgs& a) {
  const Layout<2> batch = collapse<2>(a.batch, {&a.t_batch, &a.b_batch});
  if (batch.total == 0 || a.n == 0 || a.columns == 0) return;
  const bool upper = a.triangle == Triangle::upper;
  const std::int64_t last = upper ? a.n - 1 : 0, sign = upper ? -1 : 1;
  SolveProblem<T> p{};
  p.n = static_cast<int>(a.n);
  p.columns = a.columns;
  p.t = {static_cast<const T*>(a.t) + last * (a.t_row + a.t_column), sign * a.t_row,
         sign * a.t_column};
  p.b = {static_cast<const T*>(a.b) + last * a.b_row, sign * a.b_row, a.b_column};
  p.x = static_cast<T*>(a.x) + last * a.columns;
  p.x_row = sign * a.columns;
  p.x_batch = a.n * a.columns;
  p.reversed = upper;
  p.fault = fault_reporter(stream, explain_singular);
  p.batch.rank = batch.rank;
  for (int axis = 0; axis < batch.rank; ++axis) {
    p.batch.extent[axis] = static_cast<std::uint32_t>(batch.shape[axis]);
    p.batch.t[axis] = batch.strides[0][axis];
    p.batch.b[axis] = batch.strides[1][axis];
  }
  const auto launch = [&](void (*kernel)(SolveProblem<T>), int columns_per_block, int threads) {
    p.column_blocks = static_cast<int>((a.columns + columns_per_block - 1) / columns_per_block);
    const auto blocks = static_cast<int>(batch.total * p.column_blocks);
    dev::launch(kernel, {{blocks}, {threads}}, stream, p);
  };
  // A warp per column keeps more lanes busy until there are columns for half of them.
  if (a.columns < 16) return launch(solve_narrow<T>, 4, 128);
  if (a.columns <= 32) return launch(solve_wide<T, 32>, 32, 32);
  launch(solve_wide<T, 64>, 64, 64);
}

void run_cholesky(const Stream& stream, const CholeskyArgs& a) {
  cpu::check_linalg_dtype(a.dtype, "cholesky");
  a.dtype == DType::f64 ? run_cholesky_typed<double>(stream, a)
                        : run_cholesky_typed<float>(stream, a);
}

void run_solve(const Stream& stream, const TriangularSolveArgs& a) {
  cpu::check_linalg_dtype(a.dtype, "triangular_solve");
  a.dtype == DType::f64 ? run_solve_typed<double>(stream, a) : run_solve_typed<float>(stream, a);
}

}  // namespace

void register_linalg() {
  triangle.add({"rows", DeviceType::cuda, 0, nullptr, run_triangle});
  cholesky.add({"panels", DeviceType::cuda, 0, nullptr, run_cholesky});
  triangular_solve.add({"panels", DeviceType::cuda, 0, nullptr, run_solve});
}

}  // namespace mettle::kernels::cuda
