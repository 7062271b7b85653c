// Layouts of matrix fragments against the tables of the PTX ISA, section 9.7.14 "Warp-level Matrix
// Multiply-Accumulate Instructions" (fragments of mma.m16n8k16 for .f16 and .bf16, of mma.m16n8k8
// for .tf32; ldmatrix). The kernels place every element by those tables themselves, so a wrong
// layout in the emulation gives a wrong product.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/emulation/kernels.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Machine;

TEST(Fragments, ProductsAreThoseOfTheMatrices) {
  for (const Fragments type : {Fragments::bf16, Fragments::f16, Fragments::tf32}) {
    const int k = type == Fragments::tf32 ? 8 : 16;
    Machine machine;
    auto *a = machine.allocate<float>(16 * 16), *b = machine.allocate<float>(16 * 8),
         *d = machine.allocate<float>(16 * 8);
    // Different small integers everywhere: exact in all types, sums exact in f32.
    for (int i = 0; i < 16 * k; ++i) a[i] = static_cast<float>(i * 37 % 101 - 50);
    for (int i = 0; i < k * 8; ++i) b[i] = static_cast<float>(i * 53 % 97 - 48);
    fragments(type, machine.stream(), a, b, d);
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        float sum = 0;
        for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * 8 + column];
        EXPECT_EQ(d[row * 8 + column], sum)
            << static_cast<int>(type) << ": " << row << ", " << column;
      }
  }
}

// The product of unit matrices names single registers: D = A for B = 1.
TEST(Fragments, Tf32LooksAtTenBitsOfTheMantissa) {
  Machine machine;
  auto *a = machine.allocate<float>(16 * 8), *b = machine.allocate<float>(8 * 8),
       *d = machine.allocate<float>(16 * 8);
  for (int i = 0; i < 16 * 8; ++i) a[i] = 1.0f + 0x1p-10f + 0x1p-11f;
  for (int i = 0; i < 8 * 8; ++i) b[i] = i % 9 == 0 ? 1.0f : 0.0f;
  fragments(Fragments::tf32, machine.stream(), a, b, d);
  for (int i = 0; i < 16 * 8; ++i) EXPECT_EQ(d[i], 1.0f + 0x1p-10f);
}

// "Each thread holds two elements of a row": thread T elements 2 (T % 4) and the next of row T / 4.
TEST(Fragments, LdmatrixGivesEachLaneTwoNeighbours) {
  for (const int count : {1, 2, 4})
    for (const bool transposed : {false, true}) {
      Machine machine;
      auto* in = machine.allocate<std::uint16_t>(4 * 64);
      auto* out = machine.allocate<std::uint32_t>(32 * 4);
      for (int i = 0; i < 4 * 64; ++i) in[i] = static_cast<std::uint16_t>(1000 + i);
      load_matrices(count, transposed, machine.stream(), in, out);
      for (int lane = 0; lane < 32; ++lane)
        for (int j = 0; j < count; ++j) {
          const int first = lane / 4, second = lane % 4 * 2;
          const std::uint32_t low =
              transposed ? in[j * 64 + second * 8 + first] : in[j * 64 + first * 8 + second];
          const std::uint32_t high = transposed ? in[j * 64 + (second + 1) * 8 + first]
                                                : in[j * 64 + first * 8 + second + 1];
          EXPECT_EQ(out[lane * count + j], low | high << 16)
              << count << " matrices, transposed " << transposed << ", lane " << lane;
        }
    }
}

}  // namespace
}  // namespace mettle::emulation_test
