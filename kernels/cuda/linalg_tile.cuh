// What the triangular kernels share: tiles of a strided matrix in shared memory.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Rows and columns that are factored or substituted by one warp at a time.
inline constexpr int panel = dev::warp_size;

/// A strided matrix from some element on.
template <class T> struct StridedMatrix {
  const T* data;
  std::int64_t row, column;  // strides in elements

  METTLE_DEVICE const T* at(std::int64_t i, std::int64_t j) const {
    return data + i * row + j * column;
  }
};

/// tile[j * pitch + i] = element (i, j) of the Rows x Columns matrix; zeros beyond `rows` and
/// `columns`. Lanes run along the axis that is closer together in memory.
template <int Rows, int Columns, int Threads, class T>
METTLE_DEVICE void load_transposed(T* tile, int pitch, const StridedMatrix<T>& from, int rows,
                                   int columns) {
  const auto size = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
  const bool along_row = size(from.column) <= size(from.row);
  for (int index = dev::thread_rank(); index < Rows * Columns; index += Threads) {
    const int i = along_row ? index / Columns : index % Rows;
    const int j = along_row ? index % Columns : index / Rows;
    tile[j * pitch + i] = i < rows && j < columns ? *from.at(i, j) : T(0);
  }
}

/// A matrix of a batch: 0 <= rest < the batch's extents.
struct BatchOffsets {
  static constexpr int max_axes = 8;
  int rank;
  std::uint32_t extent[max_axes];
  std::int64_t t[max_axes], b[max_axes];  // strides in elements

  METTLE_DEVICE void of(std::uint32_t rest, std::int64_t& at_t, std::int64_t& at_b) const {
    at_t = at_b = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const std::uint32_t outer = axis > 0 ? rest / extent[axis] : 0;
      const std::int64_t i = rest - outer * extent[axis];
      at_t += i * t[axis];
      at_b += i * b[axis];
      rest = outer;
    }
  }
};

}  // namespace mettle::kernels::cuda
