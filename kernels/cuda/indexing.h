// Launching look-ups and sums of runs: what gather, scatter_add and embeddings share.
#pragma once

#include <bit>

#include "kernels/cuda/indexing.cuh"
#include "kernels/cuda/sort.h"

namespace mettle::kernels::cuda {

inline dev::LaunchShape index_shape(std::int64_t threads) {
  return {{static_cast<int>((threads + index_threads - 1) / index_threads)}, {index_threads}};
}

template <class Id, class Unit>
void launch_gather(const Stream& stream, const void* x, void* y, const Grid3& grid,
                   const IndexList<Id>& list) {
  dev::launch(gather_kernel<Id, Unit>,
              index_shape((grid.total + index_in_flight - 1) / index_in_flight), stream,
              static_cast<const Unit*>(x), static_cast<Unit*>(y), grid, list);
}

/// y(o, i, :) = x(o, index(o, i), :) of `element` bytes each; indices may differ by column.
template <class Id>
void gather_lines(const Stream& stream, const void* x, void* y, std::size_t element,
                  std::int64_t outer, std::int64_t n, std::int64_t inner,
                  const IndexList<Id>& list) {
  if (outer * n * inner == 0) return;
  std::size_t unit = element;
  if (list.column_stride == 0) {
    const std::size_t row = static_cast<std::size_t>(inner) * element;
    const auto places = reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y);
    while (unit < 16 && (row | places) % (2 * unit) == 0) unit *= 2;
  }
  const Grid3 grid =
      grid3(outer, n, inner * static_cast<std::int64_t>(element) / static_cast<std::int64_t>(unit));
  switch (unit) {
    case 16: return launch_gather<Id, dev::Pack<std::uint32_t, 4>>(stream, x, y, grid, list);
    case 8: return launch_gather<Id, std::uint64_t>(stream, x, y, grid, list);
    case 4: return launch_gather<Id, std::uint32_t>(stream, x, y, grid, list);
    case 2: return launch_gather<Id, std::uint16_t>(stream, x, y, grid, list);
    default: return launch_gather<Id, std::uint8_t>(stream, x, y, grid, list);
  }
}

/// Bits of the keys of an axis of `size`, with the one that is no index.
inline int index_bits(std::int64_t size) {
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size)));
}

/// Sorts the lists that differ: (outer lists, n, lists per column).
template <class Id>
void sort_indices(const Stream& stream, LineSorter& sorter, const Grid3& lists,
                  const IndexList<Id>& list) {
  dev::launch(index_keys_kernel<Id>, index_shape(lists.total), stream, sorter.keys(), lists, list);
  sorter.sort();
}

template <bool onto, class T>
void sum_runs(const Stream& stream, const T* x, T* y, std::int64_t outer, std::int64_t n,
              std::int64_t inner, const Runs& runs) {
  constexpr int pack = 16 / static_cast<int>(sizeof(T));
  const auto places = reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y);
  if (runs.lines_of_column == 0 && inner % pack == 0 && places % 16 == 0) {
    const Grid3 grid = grid3(outer, n, inner / pack);
    dev::launch(sum_runs_kernel<pack, onto, T>, index_shape(grid.total), stream, x, y, grid, runs);
  } else {
    const Grid3 grid = grid3(outer, n, inner);
    dev::launch(sum_runs_kernel<1, onto, T>, index_shape(grid.total), stream, x, y, grid, runs);
  }
}

}  // namespace mettle::kernels::cuda
