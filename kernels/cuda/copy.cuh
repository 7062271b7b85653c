// Strided copies, transpositions, conversions and fills.
//
// Limited by memory: every element is read and written once. Copies move the largest unit, up to 16
// bytes, that alignment and strides of both sides allow, four per thread in flight. Where x and y
// run along different axes a block turns a tile in shared memory, so that both sides move whole
// sectors: 32 x 32 elements, 64 x 64 of 1 or 2 bytes; rows of the tile are padded by a bank, so
// that columns are read without conflicts.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"

namespace mettle::kernels::cuda {

inline constexpr int copy_threads = 256;
inline constexpr int units_per_thread = 4;

template <class Unit>
METTLE_GLOBAL(copy_threads)
void copy_kernel(const Unit* x, Unit* y, StridedIndex<2> index) {
  const std::int64_t first =
      std::int64_t{dev::block_index().x} * (units_per_thread * copy_threads) +
      dev::thread_index().x;
  Unit unit[units_per_thread];
  std::int64_t to[units_per_thread];
  METTLE_UNROLL
  for (int k = 0; k < units_per_thread; ++k) {
    const std::int64_t i = first + k * copy_threads;
    if (i >= index.total) continue;
    std::int64_t at[2];
    index.offsets(i, at);
    unit[k] = x[at[0]];
    to[k] = at[1];
  }
  METTLE_UNROLL
  for (int k = 0; k < units_per_thread; ++k)
    if (first + k * copy_threads < index.total) y[to[k]] = unit[k];
}

// ---- transposition ------------------------------------------------------------------------------
template <class T> inline constexpr int tile_side = sizeof(T) <= 2 ? 64 : 32;
template <class T>
inline constexpr int tile_pitch = tile_side<T> +
                                  (sizeof(T) <= 4 ? 4 / static_cast<int>(sizeof(T)) : 1);
inline constexpr int tile_rows_at_once = copy_threads / dev::warp_size;

/// Planes of rows x columns: x has its columns, y its rows as neighbours in memory.
struct Planes {
  std::int64_t rows, columns;
  std::int64_t x_row, y_column;  // strides
  Divider tiles_across, tiles_down;
  StridedIndex<2> plane;
};

template <class T> METTLE_GLOBAL(copy_threads) void turn_kernel(const T* x, T* y, Planes p) {
  constexpr int side = tile_side<T>, pitch = tile_pitch<T>;
  METTLE_SHARED(T, tile, side * pitch);
  const std::int64_t number = dev::block_index().x;
  const std::int64_t line = p.tiles_across(number), plane = p.tiles_down(line);
  const std::int64_t first_column = (number - line * p.tiles_across.divisor) * side;
  const std::int64_t first_row = (line - plane * p.tiles_down.divisor) * side;
  std::int64_t at[2];
  p.plane.offsets(plane, at);
  const int lane = dev::thread_index().x, warp = dev::thread_index().y;
  METTLE_UNROLL
  for (int r = 0; r < side; r += tile_rows_at_once) {
    METTLE_UNROLL
    for (int c = 0; c < side; c += dev::warp_size) {
      const std::int64_t row = first_row + r + warp, column = first_column + c + lane;
      if (row < p.rows && column < p.columns)
        tile[(r + warp) * pitch + c + lane] = x[at[0] + row * p.x_row + column];
    }
  }
  dev::sync_block();
  METTLE_UNROLL
  for (int c = 0; c < side; c += tile_rows_at_once) {
    METTLE_UNROLL
    for (int r = 0; r < side; r += dev::warp_size) {
      const std::int64_t row = first_row + r + lane, column = first_column + c + warp;
      if (row < p.rows && column < p.columns)
        y[at[1] + column * p.y_column + row] = tile[(r + lane) * pitch + c + warp];
    }
  }
}

// ---- conversion ---------------------------------------------------------------------------------
/// Between computed types. Floating to integer truncates; anything to bool is "not zero".
template <class To> struct Convert {
  template <class From> METTLE_DEVICE To operator()(From x) const {
    if constexpr (std::is_same_v<To, bool>)
      return x != From{0};
    else
      return static_cast<To>(x);
  }
};

/// An element of any dtype, exactly: in `real` when it is floating, else in `integer`.
struct AnyNumber {
  double real;
  std::int64_t integer;
};

METTLE_DEVICE AnyNumber load_any(const void* x, DType dtype, std::int64_t at) {
  switch (dtype) {
    case DType::f64: return {static_cast<const double*>(x)[at], 0};
    case DType::f32: return {static_cast<const float*>(x)[at], 0};
    case DType::bf16: return {dev::to_float(static_cast<const bf16*>(x)[at]), 0};
    case DType::f16: return {dev::to_float(static_cast<const f16*>(x)[at]), 0};
    case DType::i64: return {0, static_cast<const std::int64_t*>(x)[at]};
    case DType::i32: return {0, static_cast<const std::int32_t*>(x)[at]};
    case DType::i8: return {0, static_cast<const std::int8_t*>(x)[at]};
    case DType::u8: return {0, static_cast<const std::uint8_t*>(x)[at]};
    default: return {0, static_cast<const bool*>(x)[at] ? 1 : 0};
  }
}

template <class N> METTLE_DEVICE void store_any(void* y, DType dtype, std::int64_t at, N x) {
  switch (dtype) {
    case DType::f64: static_cast<double*>(y)[at] = static_cast<double>(x); break;
    case DType::f32: static_cast<float*>(y)[at] = static_cast<float>(x); break;
    case DType::bf16: static_cast<bf16*>(y)[at] = dev::round_to<bf16>(static_cast<float>(x)); break;
    case DType::f16: static_cast<f16*>(y)[at] = dev::round_to<f16>(static_cast<float>(x)); break;
    case DType::i64: static_cast<std::int64_t*>(y)[at] = static_cast<std::int64_t>(x); break;
    case DType::i32: static_cast<std::int32_t*>(y)[at] = static_cast<std::int32_t>(x); break;
    case DType::i8: static_cast<std::int8_t*>(y)[at] = static_cast<std::int8_t>(x); break;
    case DType::u8: static_cast<std::uint8_t*>(y)[at] = static_cast<std::uint8_t>(x); break;
    default: static_cast<bool*>(y)[at] = x != N{0};
  }
}

/// The dtypes are known at run time: for the pairs that are rare.
METTLE_GLOBAL(copy_threads)
void convert_kernel(const void* x, DType x_dtype, void* y, DType y_dtype, StridedIndex<2> index) {
  const std::int64_t i = std::int64_t{dev::block_index().x} * copy_threads + dev::thread_index().x;
  if (i >= index.total) return;
  std::int64_t at[2];
  index.offsets(i, at);
  const AnyNumber number = load_any(x, x_dtype, at[0]);
  if (x_dtype <= DType::f16)  // floating
    store_any(y, y_dtype, at[1], number.real);
  else
    store_any(y, y_dtype, at[1], number.integer);
}

// ---- fill ---------------------------------------------------------------------------------------
/// y[0 ... n - 1] = value. Thread i fills pack i of those that start at multiples of 16 bytes;
/// `ahead` elements of the first one lie before y.
template <class T>
METTLE_GLOBAL(copy_threads)
void fill_kernel(T* y, std::int64_t n, T value, int ahead) {
  constexpr int pack = 16 / static_cast<int>(sizeof(T));
  const std::int64_t first =
      (std::int64_t{dev::block_index().x} * copy_threads + dev::thread_index().x) * pack - ahead;
  if (first >= 0 && first + pack <= n) {
    dev::Pack<T, pack> all;
    METTLE_UNROLL
    for (int v = 0; v < pack; ++v) all.at[v] = value;
    *reinterpret_cast<dev::Pack<T, pack>*>(y + first) = all;
    return;
  }
  for (int v = 0; v < pack; ++v)
    if (first + v >= 0 && first + v < n) y[first + v] = value;
}

/// y[i] = i.
METTLE_GLOBAL(copy_threads)
void arange_kernel(std::int64_t* y, std::int64_t n) {
  const std::int64_t i = std::int64_t{dev::block_index().x} * copy_threads + dev::thread_index().x;
  if (i < n) y[i] = i;
}

}  // namespace mettle::kernels::cuda
