// Matrix instructions fed by plain loads, element by element as the tables of the PTX ISA
// say: 9.7.14 "Warp-level Matrix Multiply-Accumulate Instructions", figures of the fragments of
// mma.m16n8k16 and mma.m16n8k8, and of ldmatrix.
#pragma once

#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

// Row and column of element i of a lane's fragment, m16n8k16: a_i in A, b_i in B (i counts halves).
METTLE_DEVICE int row_of_a(int lane, int i) { return lane / 4 + (i / 2 % 2 == 1 ? 8 : 0); }
METTLE_DEVICE int column_of_a(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0); }
METTLE_DEVICE int row_of_b(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0); }

METTLE_DEVICE void store_fragment(const float (&acc)[4], float* d) {
  const int lane = dev::lane_index();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i < 2 ? 0 : 8), column = lane % 4 * 2 + i % 2;
    d[row * 8 + column] = acc[i];
  }
}

template <class T>
METTLE_GLOBAL(32)
void multiply_halves(const float* a, const float* b, float* d) {
  const int lane = dev::lane_index();
  std::uint32_t fa[4], fb[2];
  for (int i = 0; i < 8; i += 2) {
    const float* at = a + row_of_a(lane, i) * 16 + column_of_a(lane, i);
    fa[i / 2] = dev::pack_halves<T>(at[0], at[1]);
  }
  for (int i = 0; i < 4; i += 2) {
    const float* at = b + row_of_b(lane, i) * 8 + lane / 4;
    fb[i / 2] = dev::pack_halves<T>(at[0], at[8]);
  }
  float acc[4] = {};
  dev::multiply_add<T>(acc, fa, fb[0], fb[1]);
  store_fragment(acc, d);
}

METTLE_GLOBAL(32) void multiply_tf32(const float* a, const float* b, float* d) {
  const int lane = dev::lane_index(), g = lane / 4, t = lane % 4;
  const std::uint32_t fa[4] = {dev::bits_of(a[g * 8 + t]), dev::bits_of(a[(g + 8) * 8 + t]),
                               dev::bits_of(a[g * 8 + t + 4]),
                               dev::bits_of(a[(g + 8) * 8 + t + 4])};
  float acc[4] = {};
  dev::multiply_add<dev::Tf32>(acc, fa, dev::bits_of(b[t * 8 + g]),
                               dev::bits_of(b[(t + 4) * 8 + g]));
  store_fragment(acc, d);
}

template <int Count, bool transposed>
METTLE_GLOBAL(32)
void load_rows(const std::uint16_t* in, std::uint32_t* out) {
  METTLE_SHARED(std::uint16_t, rows, Count * 64);
  const int lane = dev::lane_index();
  for (int i = lane; i < Count * 64; i += dev::warp_size) rows[i] = in[i];
  dev::sync_warp();
  std::uint32_t registers[Count];
  const std::uint16_t* row = rows + lane % (8 * Count) * 8;
  if constexpr (transposed)
    dev::load_matrices_transposed(registers, row);
  else
    dev::load_matrices(registers, row);
  for (int i = 0; i < Count; ++i) out[lane * Count + i] = registers[i];
}

}  // namespace mettle::emulation_test
