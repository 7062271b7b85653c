// Which tile has a row of layer norm.
#pragma once

#include <cstdint>

#include "kernels/cuda/row_grid.h"

namespace mettle::kernels::cuda {

/// Calls f.template operator()<Tile, fast>(). Tiles that are not fast, of f64 and of rows that are
/// not made of whole packs of 16 bytes, get the fused kernel for the plain form as well.
/// Rows longer than `longest` are streamed.
template <class T, int longest, class F>
void with_norm_tile(std::int64_t columns, bool packs, const F& f) {
  constexpr int width = pack_size<T>;
  if constexpr (sizeof(T) == 8) {
    if (packs && columns <= 256) return f.template operator()<RowTile<T, width, 8, 32>, false>();
    if (packs) return f.template operator()<RowTile<T, width, 0, 512>, false>();
    if (columns <= 256) return f.template operator()<RowTile<T, 1, 8, 32>, false>();
  } else {
    if (packs && columns <= 256) return f.template operator()<RowTile<T, width, 8, 32>, true>();
    if (packs && columns <= 768) return f.template operator()<RowTile<T, width, 24, 32>, true>();
    if (packs && columns <= 4096) return f.template operator()<RowTile<T, width, 16, 256>, true>();
    if constexpr (sizeof(T) == 2 && longest > 4096)
      if (packs && columns <= 8192)
        return f.template operator()<RowTile<T, width, 16, 512>, true>();
    if (packs) return f.template operator()<RowTile<T, width, 0, 512>, false>();
    if (columns <= 512) return f.template operator()<RowTile<T, 1, 16, 32>, false>();
  }
  return f.template operator()<RowTile<T, 1, 0, 512>, false>();
}

/// f.template operator()<Tile, fused>() for the rows and the form.
template <class T, int longest = 8192, class F>
void with_norm_kernel(std::int64_t columns, bool packs, bool plain, const F& f) {
  with_norm_tile<T, longest>(columns, packs, [&]<class Tile, bool fast>() {
    if constexpr (fast) {
      if (plain) return f.template operator()<Tile, false>();
    }
    f.template operator()<Tile, true>();
  });
}

template <class T>
DropoutFactors<accumulate_t<T>> norm_dropout(bool plain, const PhiloxKey& key, double p) {
  using A = accumulate_t<T>;
  return plain ? no_dropout<A>() : dropout_factors<A>(key, p);
}

}  // namespace mettle::kernels::cuda
