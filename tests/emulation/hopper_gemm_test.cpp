// A matrix product as kernels for Hopper make it: right against naive sums in f64, the same bits
// and no report in every order, and a diagnosis for every mistake planted in its pipeline.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/emulation/hopper.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

HopperGemm gemm_args(Machine& machine, int m, int n, int k) {
  const auto halves = [&](int rows, int stream) {
    const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(k);
    const float* values = random_floats(machine, count, stream);
    auto* result = machine.allocate<bf16>(count);
    for (std::size_t i = 0; i < count; ++i) result[i] = bf16(values[i]);
    return result;
  };
  auto* c = machine.allocate<float>(static_cast<std::size_t>(m) * static_cast<std::size_t>(n));
  return {halves(m, 0), halves(n, 1), c, m, n, k};
}

TEST(HopperGemm, IsRightInEveryOrder) {
  // Two tiles in each direction, five steps of k: every border is ragged.
  constexpr int m = 100, n = 136, k = 296;
  Machine machine;
  const HopperGemm args = gemm_args(machine, m, n, k);
  std::vector<float> first, last;
  for (int seed = 0; seed < seeds; ++seed) {
    machine.reseed(static_cast<std::uint64_t>(seed));
    for (const auto& report :
         reports_of([&] { hopper_gemm(HopperGemmFault::none, machine.stream(), args); }))
      FAIL() << "seed " << seed << ": " << to_string(report.finding) << ": " << report.text;
    last.assign(args.c, args.c + m * n);
    if (seed == 0) first = last;
    ASSERT_EQ(first, last) << "seed " << seed;
  }
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int x = 0; x < k; ++x) {
        const double term = double{args.a[i * k + x]} * double{args.b[j * k + x]};
        sum += term;
        magnitude += std::fabs(term);
      }
      // Products of bf16 are exact in f32; k roundings of sums.
      ASSERT_NEAR(args.c[i * n + j], sum, k * 0x1p-24 * magnitude) << i << ", " << j;
    }
}

TEST(HopperGemm, MistakesAreDiagnosed) {
  using enum HopperGemmFault;
  const auto run = [](HopperGemmFault fault) {
    return [=](Machine& machine) {
      hopper_gemm(fault, machine.stream(), gemm_args(machine, 64, 128, 296));
    };
  };
  const std::string file = "wgmma_gemm.cuh";
  const Planted rows[] = {
    {"no wait for full",
     run(no_full_wait),
     {Finding::in_flight, Finding::uninitialised_read, Finding::race},
     file,
     "multiply"},
#if !defined(__clang__)
    // clang instruments no elements of local arrays: there it takes the end of the thread.
    {"accumulators read while multiplies are under way",
     run(no_wait_before_read),
     {Finding::in_flight},
     file,
     "result"},
#endif
    {"no wait for the last multiplies",
     run(no_wait_before_read),
     {Finding::unfinished_copy},
     file,
     "multiply",
     true},
    {"no wait for empty",
     run(no_empty_wait),
     {Finding::barrier_misuse, Finding::race},
     file,
     "arrive",
     true},
    {"wrong number of bytes", run(wrong_bytes), {Finding::deadlock}, file, "full wait", true},
    {"stages given back too early", run(early_release), {Finding::race}, file, "copy a"},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

}  // namespace
}  // namespace mettle::emulation_test
