// Reading and writing operands in f64, for the plain scalar kernels that serve as oracles.
#pragma once

#include <cstdint>

#include "engine/dtype.h"

namespace mettle::kernels::cpu {

/// A nullable matrix of `columns` columns, read as f64.
template <class T> struct Matrix {
  const T* data;
  std::int64_t columns;
  double otherwise;  // what a null matrix reads as
  double operator()(std::int64_t row, std::int64_t column) const {
    return data ? static_cast<double>(data[row * columns + column]) : otherwise;
  }
  double operator[](std::int64_t i) const {
    return data ? static_cast<double>(data[i]) : otherwise;
  }
};

template <class T>
Matrix<T> matrix(const void* data, std::int64_t columns = 1, double otherwise = 0) {
  return {static_cast<const T*>(data), columns, otherwise};
}

/// out[i] = value, rounded once; a null output is skipped.
template <class T> void put(void* out, std::int64_t i, double value) {
  if (out) static_cast<T*>(out)[i] = static_cast<T>(value);
}

}  // namespace mettle::kernels::cpu
