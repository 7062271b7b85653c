// Triangles, Cholesky factors and substitution. Rows are dense, sums run in fixed order: threads
// and panels change no bit.
#include "kernels/linalg.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/check.h"
#include "engine/parallel.h"
#include "kernels/cpu/linalg_check.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linalg.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

// Sum of products in 8 columns of partial sums, combined in a fixed tree.
template <class T> T Dot(const T* a, const T* b, std::int64_t n) {
  T part[8] = {};
  std::int64_t j = 0;
  for (; j + 8 <= n; j += 8)
    for (int c = 0; c < 8; ++c) part[c] += a[j + c] * b[j + c];
  for (int c = 0; j < n; ++j, ++c) part[c] += a[j] * b[j];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

// Elements (row, j), j = from ... to - 1, of the factor of A, which the lower triangle of l holds
// where it is not overwritten yet:
//   l_ij = (a_ij - sum_{k<j} l_ik l_jk) / l_jj,     l_ii = sqrt(a_ii - sum_{k<i} l_ik^2).
// False when the pivot l_ii^2 is not positive; it is left in l_ii.
template <class T>
bool CholeskyRow(T* l, std::int64_t n, std::int64_t row, std::int64_t from, std::int64_t to) {
  T* mine = l + row * n;
  for (std::int64_t j = from; j < std::min(to, row); ++j)
    mine[j] = (mine[j] - Dot(mine, l + j * n, j)) / l[j * n + j];
  if (to <= row) return true;
  mine[row] -= Dot(mine, mine, row);
  if (!(mine[row] > 0)) return false;
  mine[row] = std::sqrt(mine[row]);
  return true;
}

// One panel of columns at a time: first its square on the diagonal, then, side by side, the rows
// below. Returns the failed pivot or -1.
template <class T> std::int64_t Factor(T* l, std::int64_t n) {
  constexpr std::int64_t panel = 64;
  for (std::int64_t from = 0; from < n; from += panel) {
    const std::int64_t to = std::min(n, from + panel);
    for (std::int64_t row = from; row < to; ++row)
      if (!CholeskyRow(l, n, row, from, to)) return row;
    parallel_for(n - to, std::max<std::int64_t>(1, 2 * chunk_size / (to * panel)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = to + begin; row < to + end; ++row)
                     CholeskyRow(l, n, row, from, to);
                 });
  }
  return -1;
}

// Rows 0 ... n - 1 of x in the order of substitution: x_i = (b_i - sum_{k<i} t_ik x_k) / t_ii.
// Negative strides turn an upper triangle into a lower one.
template <class T> struct Substitution {
  std::int64_t n;
  const T* t;
  std::int64_t t_row, t_column;
  const T* b;
  std::int64_t b_row, b_column;
  T* x;
  std::int64_t x_row;
};

template <class T> void Substitute(const Substitution<T>& s, std::int64_t columns) {
  for (std::int64_t i = 0; i < s.n; ++i) {
    T* xi = s.x + i * s.x_row;
    for (std::int64_t j = 0; j < columns; ++j) xi[j] = s.b[i * s.b_row + j * s.b_column];
    for (std::int64_t k = 0; k < i; ++k) {
      const T factor = s.t[i * s.t_row + k * s.t_column];
      const T* xk = s.x + k * s.x_row;
      for (std::int64_t j = 0; j < columns; ++j) xi[j] -= factor * xk[j];
    }
    const T diagonal = s.t[i * (s.t_row + s.t_column)];
    for (std::int64_t j = 0; j < columns; ++j) xi[j] /= diagonal;
  }
}

template <class T> void FactorBatch(const CholeskyArgs& args) {
  const std::int64_t n = args.n, size = n * n;
  const std::int64_t work = std::max<std::int64_t>(1, size * n / 6);
  parallel_for(args.batch, std::max<std::int64_t>(1, 2 * chunk_size / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t m = begin; m < end; ++m) {
                   const T* a = static_cast<const T*>(args.a) + m * size;
                   T* l = static_cast<T*>(args.l) + m * size;
                   for (std::int64_t i = 0; i < n; ++i)
                     for (std::int64_t j = 0; j < n; ++j)
                       l[i * n + j] = j > i ? T(0) : (a[i * n + j] + a[j * n + i]) / 2;
                   args.failed[m] = Factor(l, n);
                 }
               });
}

template <class T> void SolveBatch(const TriangularSolveArgs& args) {
  constexpr std::int64_t width = 64;
  const Layout<2> batch = collapse<2>(args.batch, {&args.t_batch, &args.b_batch});
  const std::int64_t tiles = (args.columns + width - 1) / width, n = args.n;
  const std::int64_t last = args.triangle == Triangle::upper ? n - 1 : 0;
  const std::int64_t sign = args.triangle == Triangle::upper ? -1 : 1;
  const std::int64_t work = n * n * std::min(args.columns, width) / 2 + 1;
  parallel_for(
      batch.total * tiles, std::max<std::int64_t>(1, 2 * chunk_size / work),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t m = task / tiles, column = task % tiles * width;
          const T* t = static_cast<const T*>(args.t) + offset_of(batch, 0, m);
          const T* b = static_cast<const T*>(args.b) + offset_of(batch, 1, m);
          T* x = static_cast<T*>(args.x) + m * n * args.columns;
          Substitute<T>(
              {n, t + last * (args.t_row + args.t_column), sign * args.t_row, sign * args.t_column,
               b + last * args.b_row + column * args.b_column, sign * args.b_row, args.b_column,
               x + last * args.columns + column, sign * args.columns},
              std::min(width, args.columns - column));
        }
      });
}

void Cholesky(const CholeskyArgs& args) {
  args.dtype == DType::f64 ? FactorBatch<double>(args) : FactorBatch<float>(args);
}
void TriangularSolve(const TriangularSolveArgs& args) {
  args.dtype == DType::f64 ? SolveBatch<double>(args) : SolveBatch<float>(args);
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {

HWY_EXPORT(Cholesky);
HWY_EXPORT(TriangularSolve);

template <class T> void check_diagonal(const TriangularSolveArgs& args) {
  const Layout<1> batch = collapse<1>(args.batch, {&args.t_batch});
  for (std::int64_t m = 0; m < batch.total; ++m) {
    const T* t = static_cast<const T*>(args.t) + offset_of(batch, 0, m);
    for (std::int64_t i = 0; i < args.n; ++i)
      METTLE_CHECK(ValueError, t[i * (args.t_row + args.t_column)] != T(0),
                   "triangular_solve: matrix {} is singular: element ({}, {}) of its diagonal is 0",
                   m, i, i);
  }
}

void run_triangle(const Stream&, const TriangleArgs& args) {
  dispatch_any(args.dtype, [&]<class T>() {
    const std::int64_t rows = args.rows, columns = args.columns;
    const bool lower = args.triangle == Triangle::lower;
    parallel_for(args.batch * rows, std::max<std::int64_t>(1, chunk_size / (columns + 1)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const T* x = static_cast<const T*>(args.x) + row * columns;
                     T* y = static_cast<T*>(args.y) + row * columns;
                     const std::int64_t on = row % rows + args.diagonal;
                     const std::int64_t cut = std::clamp<std::int64_t>(on + lower, 0, columns);
                     const T* kept_from = lower ? x : x + cut;
                     const T* kept_to = lower ? x + cut : x + columns;
                     std::fill(y, y + columns, T{});
                     std::copy(kept_from, kept_to, y + (kept_from - x));
                   }
                 });
  });
}

}  // namespace

void register_linalg() {
  triangle.add({"rows", DeviceType::cpu, 0, nullptr, run_triangle});
  cholesky.add({"panels", DeviceType::cpu, 0, nullptr, [](const Stream&, const CholeskyArgs& args) {
                  check_linalg_dtype(args.dtype, "cholesky");
                  HWY_DYNAMIC_DISPATCH(Cholesky)(args);
                }});
  triangular_solve.add(
      {"tiles", DeviceType::cpu, 0, nullptr, [](const Stream&, const TriangularSolveArgs& args) {
         check_linalg_dtype(args.dtype, "triangular_solve");
         args.dtype == DType::f64 ? check_diagonal<double>(args) : check_diagonal<float>(args);
         HWY_DYNAMIC_DISPATCH(TriangularSolve)(args);
       }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
