// Matrix instructions. Small integers, whose sums are exact in any order, tell where every element
// goes: bits. Random numbers tell how sums are rounded inside: within a tolerance.
#include <algorithm>
#include <string>

#include "tests/conformance/conformance.h"
#include "tests/emulation/hopper.h"
#include "tests/emulation/kernels.h"

namespace mettle::conformance {
namespace {

using emulation_test::Fragments;
using emulation_test::WgmmaCase;

enum class Inputs { integers, random };

// Numbers that all three types hold exactly; the random ones have 7 bits.
std::vector<float> matrix(Inputs inputs, int stream, int count) {
  const auto size = static_cast<std::size_t>(count);
  std::vector<float> values = random_integers(stream, size, inputs == Inputs::integers ? 50 : 127);
  if (inputs == Inputs::random)
    for (std::size_t i = 0; i < size; ++i)
      values[i] *= static_cast<float>(1 << random_bits(stream + 1, i) % 8) * 0x1p-14f;
  return values;
}

// d (m, n) = factor a (m, k) b (k, n)
Bits product(const std::vector<float>& a, const std::vector<float>& b, int m, int n, int k,
             double factor) {
  std::vector<float> d;
  const auto at = [](const std::vector<float>& x, int i) {
    return double{x[static_cast<std::size_t>(i)]};
  };
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int x = 0; x < k; ++x) sum += at(a, i * k + x) * at(b, x * n + j);
      d.push_back(static_cast<float>(factor * sum));
    }
  return bits_of_values(d);
}

// ---- mma.sync -----------------------------------------------------------------------------------
int depth_of(int type) { return static_cast<Fragments>(type) == Fragments::tf32 ? 8 : 16; }

template <Inputs inputs> Bits run_mma(Device& device, int type) {
  const int k = depth_of(type);
  auto* d = device.zeros<float>(16 * 8);
  emulation_test::fragments(static_cast<Fragments>(type), device.stream(),
                            device.send(matrix(inputs, 20, 16 * k)),
                            device.send(matrix(inputs, 22, k * 8)), d);
  return device.fetch(d, 16 * 8);
}

template <Inputs inputs> Bits expect_mma(int type) {
  const int k = depth_of(type);
  return product(matrix(inputs, 20, 16 * k), matrix(inputs, 22, k * 8), 16, 8, k, 1);
}

// ---- wgmma --------------------------------------------------------------------------------------
int wgmma_depth(const WgmmaCase& what) { return what.type == WgmmaCase::Type::tf32 ? 32 : 64; }

// The kernel adds the product twice.
template <Inputs inputs> Bits run_wgmma(Device& device, int number) {
  const WgmmaCase what = emulation_test::wgmma_case(number);
  const int k = wgmma_depth(what);
  const auto count = 64 * static_cast<std::size_t>(what.n);
  auto* d = device.zeros<float>(count);
  emulation_test::wgmma(number, device.stream(), device.send(matrix(inputs, 24, 64 * k)),
                        device.send(matrix(inputs, 26, k * what.n)), d);
  return device.fetch(d, count);
}

template <Inputs inputs> Bits expect_wgmma(int number) {
  const WgmmaCase what = emulation_test::wgmma_case(number);
  const int k = wgmma_depth(what);
  return product(matrix(inputs, 24, 64 * k), matrix(inputs, 26, k * what.n), 64, what.n, k, 2);
}

std::string name_of(const WgmmaCase& what) {
  static constexpr const char* types[] = {"bf16", "f16", "tf32"};
  static constexpr const char* swizzles[] = {"none", "32", "64", "128"};
  const auto major = [](dev::Major m) { return m == dev::Major::k ? "k" : "mn"; };
  return std::string("wgmma_") + types[static_cast<int>(what.type)] + "_n" +
         std::to_string(what.n) + "_swizzle_" + swizzles[static_cast<int>(what.swizzle)] + "_a_" +
         (what.from_registers ? "registers" : major(what.major_a)) + "_b_" + major(what.major_b);
}

}  // namespace

void add_matrix_words(std::vector<Word>& words) {
  // Products below 2^-0, up to 2 * 64 of them, of which the hardware cuts off what is 2^-24 or more
  // below the largest.
  constexpr double tolerance = 0x1p-16;
  const char* types[] = {"bf16", "f16", "tf32"};
  for (int type = 0; type < 3; ++type) {
    const std::string name = std::string("mma_") + types[type];
    words.push_back({name + "_places", Kind::bits, 0, run_mma<Inputs::integers>,
                     expect_mma<Inputs::integers>, type});
    words.push_back({name + "_sums", Kind::f32, tolerance, run_mma<Inputs::random>,
                     expect_mma<Inputs::random>, type});
  }
  for (int i = 0; i < emulation_test::wgmma_cases(); ++i) {
    const WgmmaCase what = emulation_test::wgmma_case(i);
    words.push_back({name_of(what) + "_places", Kind::bits, 0, run_wgmma<Inputs::integers>,
                     expect_wgmma<Inputs::integers>, i});
    if (what.n <= 32)  // the results of these are all recorded
      words.push_back({name_of(what) + "_sums", Kind::f32, tolerance, run_wgmma<Inputs::random>,
                       expect_wgmma<Inputs::random>, i});
  }
}

}  // namespace mettle::conformance
