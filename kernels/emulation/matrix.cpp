// Matrix instructions: ldmatrix and mma.sync, fragments as in the PTX ISA ("Warp-level Matrix
// Instructions"). With g = lane / 4 and t = lane % 4, all of 32-bit registers:
//
//   16-bit types, m16n8k16             tf32, m16n8k8
//   a0 = A[g    ][2t, 2t+1]            a0 = A[g    ][t]
//   a1 = A[g + 8][2t, 2t+1]            a1 = A[g + 8][t]
//   a2 = A[g    ][2t+8, 2t+9]          a2 = A[g    ][t + 4]
//   a3 = A[g + 8][2t+8, 2t+9]          a3 = A[g + 8][t + 4]
//   b0 = B[2t, 2t+1    ][g]            b0 = B[t    ][g]
//   b1 = B[2t+8, 2t+9  ][g]            b1 = B[t + 4][g]
//   d0, d1 = D[g][2t, 2t+1]   d2, d3 = D[g + 8][2t, 2t+1]
//
// Products are exact in f32 and summed in the order of k; what the hardware does inside is not
// documented, so results agree within a tolerance only.
#include <algorithm>
#include <bit>

#include "engine/half.h"
#include "kernels/emulation/block.h"

namespace mettle::emulation {
namespace {

struct LoadInput {
  const void* row;
  int count;
  bool transposed;
};

// How many passes over the banks eight rows of 16 bytes need beyond one: rows collide that start in
// the same 16 of 128 bytes.
int bank_conflicts(const void* const (&rows)[8]) {
  int in_bank[8] = {};
  for (const void* row : rows) ++in_bank[reinterpret_cast<std::uintptr_t>(row) / 16 % 8];
  return *std::max_element(std::begin(in_bank), std::end(in_bank)) - 1;
}

// Lanes 8j to 8j+7 give the rows of matrix j; lane l gets two neighbours in row l / 4, or in column
// l / 4 when transposed.
void load_lanes(Block& block, const Lanes& lanes) {
  const int count = static_cast<const LoadInput*>(lanes.in[0])->count;
  for (int j = 0; j < count; ++j) {
    const void* rows[8];
    for (int r = 0; r < 8; ++r) {
      const int lane = 8 * j + r;
      rows[r] = static_cast<const LoadInput*>(lanes.in[lane])->row;
      block.matrix_row_access(*lanes.thread[lane], rows[r], lanes.place);
    }
    ++block.machine().counts.ldmatrix_phases;
    block.machine().counts.ldmatrix_conflicts += bank_conflicts(rows);
    const auto element = [&](int row, int column) {
      return std::uint32_t{static_cast<const std::uint16_t*>(rows[row])[column]};
    };
    for (int lane = 0; lane < dev::warp_size; ++lane) {
      const int g = lane / 4, t = lane % 4 * 2;
      const bool transposed = static_cast<const LoadInput*>(lanes.in[lane])->transposed;
      static_cast<std::uint32_t*>(lanes.out[lane])[j] =
          transposed ? element(t, g) | element(t + 1, g) << 16
                     : element(g, t) | element(g, t + 1) << 16;
    }
  }
}

struct MultiplyInput {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

template <class T> float half_of(std::uint32_t pair, int which) {
  T value;
  value.bits = static_cast<std::uint16_t>(pair >> (16 * which));
  return value;
}

// Matrices as all lanes together hold them.
struct Operands {
  float a[16][16];
  float b[16][8];
};

template <class T> Operands gather_halves(const Lanes& lanes) {
  Operands m;
  for (int lane = 0; lane < dev::warp_size; ++lane) {
    const auto& in = *static_cast<const MultiplyInput*>(lanes.in[lane]);
    const int g = lane / 4, t = lane % 4 * 2;
    for (int i = 0; i < 2; ++i) {
      m.a[g][t + i] = half_of<T>(in.a[0], i);
      m.a[g + 8][t + i] = half_of<T>(in.a[1], i);
      m.a[g][t + 8 + i] = half_of<T>(in.a[2], i);
      m.a[g + 8][t + 8 + i] = half_of<T>(in.a[3], i);
      m.b[t + i][g] = half_of<T>(in.b[0], i);
      m.b[t + 8 + i][g] = half_of<T>(in.b[1], i);
    }
  }
  return m;
}

// tf32 has 10 bits of mantissa; the hardware does not look at the 13 below them.
Operands gather_tf32(const Lanes& lanes) {
  const auto value = [](std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); };
  Operands m;
  for (int lane = 0; lane < dev::warp_size; ++lane) {
    const auto& in = *static_cast<const MultiplyInput*>(lanes.in[lane]);
    const int g = lane / 4, t = lane % 4;
    m.a[g][t] = value(in.a[0]);
    m.a[g + 8][t] = value(in.a[1]);
    m.a[g][t + 4] = value(in.a[2]);
    m.a[g + 8][t + 4] = value(in.a[3]);
    m.b[t][g] = value(in.b[0]);
    m.b[t + 4][g] = value(in.b[1]);
  }
  return m;
}

template <int K> void multiply(const Lanes& lanes, const Operands& m) {
  for (int lane = 0; lane < dev::warp_size; ++lane) {
    float* d = static_cast<const MultiplyInput*>(lanes.in[lane])->d;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      for (int k = 0; k < K; ++k) d[i] += m.a[row][k] * m.b[k][column];
    }
  }
}

void multiply_bf16(Block&, const Lanes& lanes) { multiply<16>(lanes, gather_halves<bf16>(lanes)); }
void multiply_f16(Block&, const Lanes& lanes) { multiply<16>(lanes, gather_halves<f16>(lanes)); }
void multiply_tf32(Block&, const Lanes& lanes) { multiply<8>(lanes, gather_tf32(lanes)); }

}  // namespace

void load_matrices(std::uint32_t* registers, int count, bool transposed, const void* row,
                   Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  const LoadInput input{row, count, transposed};
  block.warp_operation(thread, load_lanes, dev::full_warp, &input, registers,
                       block.places().of(where));
}

void multiply_add(MatrixType type, float* d, const std::uint32_t* a, const std::uint32_t* b,
                  Where where) {
  static constexpr WarpFunction functions[] = {multiply_bf16, multiply_f16, multiply_tf32};
  Thread& thread = self();
  Block& block = *thread.block;
  const MultiplyInput input{d, a, b};
  block.warp_operation(thread, functions[static_cast<int>(type)], dev::full_warp, &input, nullptr,
                       block.places().of(where));
}

}  // namespace mettle::emulation
