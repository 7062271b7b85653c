// Multiplies of warpgroups: products against naive sums for every layout of operands, and a
// diagnosis for every mistake with their asynchrony.
#include <gtest/gtest.h>

#include "kernels/cuda/device_types.cuh"
#include "tests/emulation/hopper.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

TEST(Wgmma, ProductsAreThoseOfTheMatrices) {
  for (int number = 0; number < wgmma_cases(); ++number) {
    const WgmmaCase row = wgmma_case(number);
    const int n = row.n, depth = row.type == WgmmaCase::Type::tf32 ? 32 : 64;
    Machine machine({.seed = static_cast<std::uint64_t>(number)});
    const auto size = [](int rows, int columns) {
      return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
    };
    auto *a = machine.allocate<float>(size(64, depth)),
         *b = machine.allocate<float>(size(depth, n)), *d = machine.allocate<float>(size(64, n));
    // Different small integers everywhere: exact in all types, sums exact in f32.
    for (int i = 0; i < 64 * depth; ++i) a[i] = static_cast<float>(i * 37 % 101 - 50);
    for (int i = 0; i < depth * n; ++i) b[i] = static_cast<float>(i * 53 % 97 - 48);
    for (const auto& report : reports_of([&] { wgmma(number, machine.stream(), a, b, d); }))
      FAIL() << "case " << number << ": " << report.text;
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int k = 0; k < depth; ++k) sum += a[i * depth + k] * b[k * n + j];
        ASSERT_EQ(d[i * n + j], 2 * sum) << "case " << number << ": " << i << ", " << j;
      }
  }
}

TEST(Wgmma, RightWaysAreNotReported) {
  using enum WgmmaFault;
  for (const WgmmaFault way : {none, fence_by_reader, one_warp_tells, later_stage})
    for (int seed = 0; seed < seeds; ++seed) {
      Machine machine({.seed = static_cast<std::uint64_t>(seed)});
      auto* d = machine.allocate<float>(64 * 16);
      for (const auto& report : reports_of([&] { wgmma_mistake(way, machine.stream(), d); }))
        FAIL() << static_cast<int>(way) << ": " << report.text;
      for (int i = 0; i < 64 * 16; ++i) ASSERT_EQ(d[i], way == later_stage ? 32.0f : 16.0f);
    }
}

TEST(Wgmma, MistakesAreDiagnosed) {
  using enum WgmmaFault;
  const auto run = [](WgmmaFault fault) {
    return [=](Machine& machine) {
      wgmma_mistake(fault, machine.stream(), machine.allocate<float>(64 * 16));
    };
  };
  struct Row {
    const char* name;
    WgmmaFault fault;
    Finding finding;
    const char* marker;
    bool plain;
  };
  const Row rows[] = {
      {"no fence", no_fence, Finding::missing_fence, "multiply", true},
      {"accumulators written after the fence", written_after_fence, Finding::missing_fence,
       "multiply", true},
      {"fragments not fenced", fragments_not_fenced, Finding::missing_fence, "fragments", true},
      {"accumulators read before the wait", read_before_wait, Finding::in_flight,
       "read_before_wait", false},
      {"accumulators of a later group", too_few_waited, Finding::in_flight, "too_few_waited", true},
      {"no commit", not_committed, Finding::in_flight, "wait", true},
      {"no wait", never_waited, Finding::unfinished_copy, "multiply", true},
      {"fragments overwritten", fragments_overwritten, Finding::in_flight, "overwritten", false},
      {"part of the accumulators", part_of_accumulators, Finding::bad_operand, "part", true},
      {"no proxy fence", no_proxy_fence, Finding::missing_fence, "fill", false},
      {"no barrier", no_barrier, Finding::race, "fill", false},
      {"overwritten before the wait", overwritten_before_wait, Finding::race, "overwrite", false},
      {"overwritten by another warpgroup", overwritten_by_other_group, Finding::race, "overwrite",
       false},
      {"overwritten stage", overwritten_wrong_stage, Finding::race, "overwrite", false},
      {"operand that nobody wrote", never_written, Finding::uninitialised_read, "multiply", false},
      {"operand beyond its array", beyond_the_array, Finding::out_of_bounds, "multiply", true},
      {"a warp leaves", missing_warp, Finding::inactive_lane, "multiply", true},
      {"a warp waits elsewhere", warp_at_barrier, Finding::divergent_barrier, "warp_at_barrier",
       true},
      {"a warp at another line", divergent_lines, Finding::divergent_warp, "divergent_lines", true},
      {"warps with different operands", divergent_operands, Finding::divergent_warp, "multiply",
       true},
      {"tile off its pattern", off_pattern, Finding::bad_operand, "multiply", true},
      {"three warps", half_warpgroup, Finding::inactive_lane, "multiply", true},
  };
  for (const Row& row : rows)
    expect_diagnosed(
        {row.name, run(row.fault), {row.finding}, "wgmma_mistakes.cuh", row.marker, row.plain});
}

}  // namespace
}  // namespace mettle::emulation_test
