// Dropout: y = factor(i) x, the factors made of the Philox stream where they are used. The fused
// form with residual and layer norm is layer_norm_*.cuh.
//
// Limit: memory, 4 bytes an element at 16 bits; the mask is never stored. Philox takes 18
// instructions an element, the rest 5, of 35 that an H100 has time for. In flight: two packs of 16
// bytes a thread, 48 KB a multiprocessor.
#pragma once

#include <cstdint>

#include "kernels/cuda/dropout_factors.cuh"
#include "kernels/cuda/packs.cuh"

namespace mettle::kernels::cuda {

struct DropoutTile {
  static constexpr int threads = 256, packs = 2;  // a thread's at a time
};

/// x and y are aligned to `width` elements; y may be x.
template <class T, int width>
METTLE_GLOBAL(DropoutTile::threads)
void dropout_elements(const T* x, T* y, std::int64_t n,
                      const DropoutFactors<accumulate_t<T>> factors) {
  using A = accumulate_t<T>;
  using Tile = DropoutTile;
  const std::int64_t packs = n / width;
  const std::int64_t stride = std::int64_t{dev::grid_size().x} * Tile::threads;
  const std::int64_t thread =
      std::int64_t{dev::block_index().x} * Tile::threads + dev::thread_index().x;
  for (std::int64_t first = thread; first < packs; first += Tile::packs * stride) {
    A v[Tile::packs][width];
    METTLE_UNROLL
    for (int k = 0; k < Tile::packs; ++k)
      if (first + k * stride < packs) load_pack(x + (first + k * stride) * width, v[k]);
    METTLE_UNROLL
    for (int k = 0; k < Tile::packs; ++k) {
      const std::int64_t pack = first + k * stride;
      if (pack >= packs) continue;
      const std::uint32_t keeps = factors.template keeps<width>(pack * width);
      METTLE_UNROLL
      for (int i = 0; i < width; ++i) v[k][i] *= factors.factor(keeps, i);
      store_pack(y + pack * width, v[k]);
    }
  }
  if (packs * width + thread < n) {  // what is no whole pack
    const std::int64_t i = packs * width + thread;
    store_one(y + i, load_one(x + i) * factors.factor(factors.template keeps<1>(i), 0));
  }
}

}  // namespace mettle::kernels::cuda
