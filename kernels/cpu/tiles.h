// Strided operands seen as runs of contiguous tiles. Elementwise kernels work on tiles only, so
// that a strided, a broadcast and a 16-bit operand pass through the same arithmetic and give the
// same bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/dtype.h"
#include "kernels/layout.h"

namespace mettle::kernels::cpu {

inline constexpr std::int64_t tile_size = 512;
/// Elements per parallel chunk of an elementwise kernel.
inline constexpr std::int64_t chunk_size = 32 * tile_size;

/// Calls run(offset, stride, count, done) for the pieces along the last axis that make up elements
/// [begin, begin + n) of operand i in row-major order; `done` counts the elements before the piece.
template <int N, class Run>
void for_each_run(const Layout<N>& l, int i, std::int64_t begin, std::int64_t n, Run&& run) {
  if (l.rank == 0) return run(std::int64_t{0}, std::int64_t{1}, n, std::int64_t{0});
  const std::int64_t* strides = l.strides[i];
  const int last = l.rank - 1;
  std::int64_t index[max_rank];
  std::int64_t at = 0;
  for (int axis = last; axis >= 0; --axis) {
    index[axis] = begin % l.shape[axis];
    begin /= l.shape[axis];
    at += index[axis] * strides[axis];
  }
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t count = std::min(l.shape[last] - index[last], n - done);
    run(at, strides[last], count, done);
    done += count;
    at -= index[last] * strides[last];
    index[last] = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      at += strides[axis];
      if (++index[axis] < l.shape[axis]) break;
      at -= strides[axis] * l.shape[axis];
      index[axis] = 0;
    }
  }
}

/// Elements [begin, begin + n) of operand i as C: in place when they lie dense and need no
/// conversion, else packed into `buffer` (tile_size elements).
template <class C, class T, int N>
const C* load_tile(const T* x, const Layout<N>& l, int i, std::int64_t begin, std::int64_t n,
                   C* buffer) {
  if constexpr (std::is_same_v<C, T>)
    if (is_dense(l, i)) return x + begin;
  for_each_run(l, i, begin, n,
               [&](std::int64_t at, std::int64_t stride, std::int64_t count, std::int64_t done) {
                 C* out = buffer + done;
                 const T* in = x + at;
                 if (stride == 1) {
                   for (std::int64_t j = 0; j < count; ++j) out[j] = static_cast<C>(in[j]);
                 } else if (stride == 0) {
                   std::fill_n(out, count, static_cast<C>(*in));
                 } else {
                   for (std::int64_t j = 0; j < count; ++j) out[j] = static_cast<C>(in[j * stride]);
                 }
               });
  return buffer;
}

/// A tile of copies of operand i where that is one element for the whole layout; else null.
template <class C, class T, int N>
const C* constant_tile(const T* x, const Layout<N>& l, int i, std::int64_t n, C* buffer) {
  if (l.rank != 1 || l.strides[i][0] != 0) return nullptr;
  std::fill_n(buffer, std::min(n, tile_size), static_cast<C>(*x));
  return buffer;
}

/// Rounds a tile into a dense output; nothing to do when the kernel wrote there directly.
template <class C, class T> void store_tile(const C* tile, T* y, std::int64_t n) {
  if constexpr (std::is_same_v<C, T>) {
    if (tile == y) return;
  }
  for (std::int64_t j = 0; j < n; ++j) y[j] = static_cast<T>(tile[j]);
}

/// Where a kernel writes a tile of C: straight into y when y holds C, else into `buffer`.
template <class C, class T> C* output_tile(T* y, C* buffer) {
  if constexpr (std::is_same_v<C, T>) {
    return y;
  } else {
    return buffer;
  }
}

}  // namespace mettle::kernels::cpu
