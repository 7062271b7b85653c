// Launching an elementwise map: in packs where every operand allows it, else by elements.
#pragma once

#include "kernels/cuda/elementwise.cuh"

namespace mettle::kernels::cuda {

inline dev::LaunchShape map_shape(std::int64_t packs, int packs_of_thread) {
  const std::int64_t per_block = std::int64_t{packs_of_thread} * map_threads;
  return {{static_cast<int>((packs + per_block - 1) / per_block)}, {map_threads}};
}

template <int V, int N> MapIndex<N> map_index(const Layout<N>& l) {
  MapIndex<N> index;
  index.elements = l.total;
  index.packs = strided_index(V == 1 ? l : in_packs(l, V));
  for (int i = 0; i < N; ++i) index.step[i] = l.rank > 0 && l.strides[i][l.rank - 1] == 0 ? 0 : 1;
  return index;
}

/// Whether the output and the N operands, of elements of `size` bytes each, can move in packs.
template <int N>
bool maps_in_packs(const Layout<N>& l, int pack, const void* const (&data)[N],
                   const std::size_t (&size)[N], const void* y, std::size_t y_size) {
  if (l.rank == 0 || (l.rank > 1 && l.shape[l.rank - 1] % pack != 0)) return false;
  for (int i = 0; i < N; ++i)
    if (!runs_in_packs(l, i, pack, data[i], size[i])) return false;
  return reinterpret_cast<std::uintptr_t>(y) % (static_cast<std::size_t>(pack) * y_size) == 0;
}

template <class X, class Y, int N, class F>
void launch_map(const Stream& stream, const F& f, const Pointers<X, N>& x, Y* y,
                const Layout<N>& l) {
  if (l.total == 0) return;
  constexpr int pack = 16 / static_cast<int>(sizeof(X) > sizeof(Y) ? sizeof(X) : sizeof(Y));
  const void* data[N];
  std::size_t size[N];
  for (int i = 0; i < N; ++i) data[i] = x.at[i], size[i] = sizeof(X);
  if (maps_in_packs(l, pack, data, size, y, sizeof(Y))) {
    const MapIndex<N> index = map_index<pack>(l);
    dev::launch(map_kernel<pack, N, F, X, Y>, map_shape(index.packs.total, packs_per_thread<pack>),
                stream, f, x, y, index);
  } else {
    const MapIndex<N> index = map_index<1>(l);
    dev::launch(map_kernel<1, N, F, X, Y>, map_shape(index.packs.total, packs_per_thread<1>),
                stream, f, x, y, index);
  }
}

}  // namespace mettle::kernels::cuda
