// Multiplies of a warpgroup from tiles that are laid out element by element, by the tables of the
// PTX ISA (9.7.15 "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions": fragments
// of wgmma.m64nNk16 and .m64nNk8, canonical layouts). A tile is a row of blocks, each as wide as
// the swizzle and as long as the tile; without a swizzle as wide as 16 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/hopper.h"

namespace mettle::emulation_test {

template <class T> struct WgmmaElement {
  using Stored = T;
  METTLE_DEVICE static T of(float x) { return dev::round_to<T>(x); }
};
template <> struct WgmmaElement<dev::Tf32> {
  using Stored = float;
  METTLE_DEVICE static float of(float x) { return x; }
};

/// An operand of `extent` rows (A) or columns (B) and `depth` of k.
template <class T, dev::Swizzle swizzle, dev::Major major, int extent, int depth> struct WgmmaTile {
  using Stored = typename WgmmaElement<T>::Stored;
  static constexpr int size = sizeof(Stored), width = dev::swizzle_width(swizzle);
  static constexpr bool along_k = major == dev::Major::k;
  // Rows of the tile as it lies in memory, and elements in each.
  static constexpr int rows = along_k ? extent : depth, columns = along_k ? depth : extent;
  static constexpr int block_bytes = rows * width;
  static constexpr int blocks = (columns * size + width - 1) / width;
  static constexpr int elements = blocks * block_bytes / size;

  METTLE_DEVICE static int place(int i, int k) {
    const int row = along_k ? i : k, byte = (along_k ? k : i) * size;
    return dev::swizzled<swizzle>(byte / width * block_bytes + row * width + byte % width) / size;
  }
  /// What step j multiplies: 32 bytes of k.
  METTLE_DEVICE static dev::SharedMatrix step(const Stored* tile, int j) {
    constexpr int eight_rows = 8 * width;
    const auto whole = [&] {
      if constexpr (swizzle == dev::Swizzle::none && !along_k)
        return dev::shared_matrix<swizzle>(tile, eight_rows, block_bytes);
      else
        return dev::shared_matrix<swizzle>(tile, block_bytes, eight_rows);
    }();
    const int byte = 32 * j;
    return dev::advance(whole,
                        along_k ? byte / width * block_bytes + byte % width : byte / size * width);
  }
};

template <class T, int n, dev::Swizzle swizzle, dev::Major major_a, dev::Major major_b,
          bool from_registers>
METTLE_GLOBAL(128)
void multiply_warpgroup(const float* a, const float* b, float* d) {
  constexpr bool wide = std::is_same_v<T, dev::Tf32>;
  constexpr int depth = wide ? 32 : 64, steps = 4;
  using A = WgmmaTile<T, swizzle, major_a, 64, depth>;
  using B = WgmmaTile<T, swizzle, major_b, n, depth>;
  dev::SharedCarver carver;
  auto* tile_a = carver.take<typename A::Stored, 1024>(A::elements);
  auto* tile_b = carver.take<typename B::Stored, 1024>(B::elements);
  const int thread = dev::thread_rank(), lane = dev::lane_index(), warp = dev::warp_index();
  for (int i = thread; i < 64 * depth; i += 128)
    tile_a[A::place(i / depth, i % depth)] = WgmmaElement<T>::of(a[i]);
  for (int i = thread; i < n * depth; i += 128)
    tile_b[B::place(i % n, i / n)] = WgmmaElement<T>::of(b[i]);
  dev::fence_async_proxy();
  dev::sync_block();

  // Fragments live until the wait.
  [[maybe_unused]] std::uint32_t fragments[steps][4];
  float acc[n / 2] = {};
  acc[0] = 1e30f;  // which the first multiply does not add to
  if constexpr (from_registers) {
    // Element pairs, for tf32 elements: register r of a lane is of row lane / 4, 8 more for odd r,
    // and in the second half of k for r >= 2.
    METTLE_UNROLL
    for (int j = 0; j < steps; ++j) {
      METTLE_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int row = 16 * warp + lane / 4 + r % 2 * 8;
        const int column = depth / steps * j + lane % 4 * (wide ? 1 : 2) + r / 2 * (wide ? 4 : 8);
        const float* at = a + row * depth + column;
        if constexpr (wide)
          fragments[j][r] = dev::bits_of(at[0]);
        else
          fragments[j][r] = dev::pack_halves<T>(at[0], at[1]);
      }
    }
    dev::fence_multiplies(acc, fragments);
    for (int round = 0; round < 2; ++round) {
      METTLE_UNROLL
      for (int j = 0; j < steps; ++j)
        dev::multiply_add_async<T, major_b>(acc, fragments[j], B::step(tile_b, j), round + j > 0);
    }
  } else {
    dev::fence_multiplies(acc);
    for (int round = 0; round < 2; ++round) {
      METTLE_UNROLL
      for (int j = 0; j < steps; ++j)
        dev::multiply_add_async<T, major_b, major_a>(acc, A::step(tile_a, j), B::step(tile_b, j),
                                                     round + j > 0);
    }
  }
  dev::commit_multiplies();
  dev::wait_multiplies<0>(acc);

  // "Row of d_i: 16 warp + lane / 4, for i with bit 1 set 8 more; column: 8 (i / 4) + 2 (lane % 4)
  // + (i & 1)."
  METTLE_UNROLL
  for (int i = 0; i < n / 2; ++i) {
    const int row = 16 * warp + lane / 4 + ((i & 2) != 0 ? 8 : 0);
    const int column = 8 * (i / 4) + lane % 4 * 2 + (i & 1);
    d[row * n + column] = acc[i];
  }
}

}  // namespace mettle::emulation_test
