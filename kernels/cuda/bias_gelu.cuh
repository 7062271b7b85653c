// y = gelu(x + bias), its backward and its double backward; kernels/bias_gelu.h has the formulas.
//
// Limit: memory. At 16 bits 4 bytes an element forward, 6 backward, 10 double backward; the bias
// and the sums of its gradient stay in registers over the rows of a block. Operands of 16 bits take
// the hardware's exponential: about 25 instructions an element of 35 forward, 35 of 53 backward, 45
// of 88 double backward; f32 has twice the time and takes 45 to 70 instructions. In flight: packs
// of 16 bytes of all operands, forward of four rows, 36 to 64 KB a multiprocessor.
#pragma once

#include <cstdint>

#include "kernels/cuda/column_tile.cuh"
#include "kernels/cuda/gelu.cuh"

namespace mettle::kernels::cuda {

/// kernels/bias_gelu.h describes the operands; outputs may be the memory of inputs.
template <class T> struct BiasGelu {
  ColumnGrid grid;
  const T* x = nullptr;
  const T* bias = nullptr;
  const T* dy = nullptr;         // not forward
  const T* ddx = nullptr;        // double backward only
  const T* ddbias = nullptr;     // double backward only
  T* y = nullptr;                // forward only
  T* dx = nullptr;               // backward; dx2 of the double backward
  T* ddy = nullptr;              // double backward only
  ColumnSumsTo<T, 1> sums = {};  // dbias or dbias2
};

template <class T, GeluForm form> using GeluOf = Gelu<form, sizeof(T) == 2>;

/// f(row, x) for each row of the thread, x its pack plus bias; packs of `rows` rows are on their
/// way at a time.
template <int rows, int width, class T, class F>
METTLE_DEVICE void each_row_plus_bias(const BiasGelu<T>& a, const ColumnPlace<width>& at,
                                      const F& f) {
  using A = accumulate_t<T>;
  A bias[width];
  load_or_zeros(at.inside ? a.bias : nullptr, at.group * a.grid.columns + at.column, bias);
  for (std::int64_t first = at.row; first < at.end; first += rows * at.step) {
    HeldPack<T, width> x[rows] = {};
    METTLE_UNROLL
    for (int k = 0; k < rows; ++k)
      if (first + k * at.step < at.end)
        x[k].load(a.x + (first + k * at.step) * a.grid.columns + at.column);
    METTLE_UNROLL
    for (int k = 0; k < rows; ++k) {
      if (first + k * at.step >= at.end) continue;
      A z[width];
      METTLE_UNROLL
      for (int i = 0; i < width; ++i) z[i] = x[k].get(i) + bias[i];
      f((first + k * at.step) * a.grid.columns + at.column, z);
    }
  }
}

template <class T, int width, GeluForm form>
METTLE_GLOBAL(ColumnGrid::threads)
void bias_gelu_forward_columns(const BiasGelu<T> a) {
  using A = accumulate_t<T>;
  const ColumnPlace<width> at(a.grid);
  each_row_plus_bias<4>(a, at, [&](std::int64_t place, A(&z)[width]) {
    METTLE_UNROLL
    for (int i = 0; i < width; ++i) z[i] = GeluOf<T, form>::value(z[i]);
    store_pack(a.y + place, z);
  });
}

template <class T, int width, GeluForm form>
METTLE_GLOBAL(ColumnGrid::threads)
void bias_gelu_backward_columns(const BiasGelu<T> a) {
  using A = accumulate_t<T>;
  METTLE_SHARED(A, shared, ColumnGrid::threads * width);
  const ColumnPlace<width> at(a.grid);
  A sums[width] = {};
  each_row_plus_bias<1>(a, at, [&](std::int64_t place, A(&z)[width]) {
    A dy[width];
    load_pack(a.dy + place, dy);
    METTLE_UNROLL
    for (int i = 0; i < width; ++i) {
      z[i] = dy[i] * GeluOf<T, form>::slope(z[i]);
      sums[i] += z[i];
    }
    if (a.dx) store_pack(a.dx + place, z);
  });
  if (a.sums.out[0]) finish_columns(a.grid, at, sums, a.sums, shared);
}

template <class T, int width, GeluForm form>
METTLE_GLOBAL(ColumnGrid::threads)
void bias_gelu_double_backward_columns(const BiasGelu<T> a) {
  using A = accumulate_t<T>;
  METTLE_SHARED(A, shared, ColumnGrid::threads * width);
  const ColumnPlace<width> at(a.grid);
  A sums[width] = {}, along_bias[width];
  load_or_zeros(at.inside ? a.ddbias : nullptr, at.group * a.grid.columns + at.column, along_bias);
  each_row_plus_bias<1>(a, at, [&](std::int64_t place, A(&z)[width]) {
    A dy[width], along[width];
    load_pack(a.dy + place, dy);
    load_or_zeros(a.ddx, place, along);
    METTLE_UNROLL
    for (int i = 0; i < width; ++i) {
      const GeluSlopes<A> slopes = GeluOf<T, form>::slopes(z[i]);
      const A e = along[i] + along_bias[i];
      z[i] = e * slopes.first;
      along[i] = e * dy[i] * slopes.second;
      sums[i] += along[i];
    }
    if (a.ddy) store_pack(a.ddy + place, z);
    if (a.dx) store_pack(a.dx + place, along);
  });
  if (a.sums.out[0]) finish_columns(a.grid, at, sums, a.sums, shared);
}

}  // namespace mettle::kernels::cuda
