// The common shape of strided operands, collapsed: what the kernels of every back end iterate over.
#pragma once

#include <cstdint>

#include "engine/shape.h"

namespace mettle::kernels {

/// The common shape of N operands with neighbouring axes merged where every operand allows it.
template <int N> struct Layout {
  int rank = 0;
  std::int64_t total = 1;
  std::int64_t shape[max_rank];
  std::int64_t strides[N][max_rank];
};

template <int N> Layout<N> collapse(const Shape& shape, const Strides* const (&strides)[N]) {
  Layout<N> l;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    l.total *= shape[axis];
    if (shape[axis] == 1) continue;
    bool merges = l.rank > 0;
    for (int i = 0; i < N && merges; ++i)
      merges = l.strides[i][l.rank - 1] == (*strides[i])[axis] * shape[axis];
    if (!merges) {
      l.shape[l.rank++] = 1;
    }
    l.shape[l.rank - 1] *= shape[axis];
    for (int i = 0; i < N; ++i) l.strides[i][l.rank - 1] = (*strides[i])[axis];
  }
  return l;
}

/// Operand i lies dense in memory over the whole layout.
template <int N> bool is_dense(const Layout<N>& l, int i) {
  return l.rank == 0 || (l.rank == 1 && l.strides[i][0] == 1);
}

/// Offset of element `index`, counted row-major, of operand i.
template <int N> std::int64_t offset_of(const Layout<N>& l, int i, std::int64_t index) {
  std::int64_t at = 0;
  for (int axis = l.rank - 1; axis >= 0; --axis) {
    at += index % l.shape[axis] * l.strides[i][axis];
    index /= l.shape[axis];
  }
  return at;
}

/// The axes of a reduction: those whose bit is set in `reduced`, and those that are kept.
struct ReducedAxes {
  Layout<1> kept, reduced;
};

inline ReducedAxes split_axes(const Shape& shape, const Strides& strides, std::uint32_t reduced) {
  Shape kept_shape, reduced_shape;
  Strides kept_strides, reduced_strides;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool goes = (reduced >> axis & 1u) != 0;
    (goes ? reduced_shape : kept_shape).push_back(shape[axis]);
    (goes ? reduced_strides : kept_strides).push_back(strides[axis]);
  }
  return {collapse<1>(kept_shape, {&kept_strides}), collapse<1>(reduced_shape, {&reduced_strides})};
}

}  // namespace mettle::kernels
