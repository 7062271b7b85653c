// The vocabulary, word by word, and what instrumentation alone tells: atomics of the language and
// the functions of <cstring>.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/half.h"
#include "tests/emulation/kernels.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

TEST(Words, Atomics) {
  Machine machine;
  auto* out = machine.allocate<AtomicsResult>(1);
  *out = {};
  atomics(machine.stream(), out);
  constexpr int sum = 64 * 63 / 2;
  EXPECT_EQ(out->sum_of_int, sum);
  EXPECT_EQ(out->sum_of_int64, std::int64_t{sum} << 32);
  EXPECT_EQ(out->sum_of_double, 0.5 * sum);
  EXPECT_EQ(out->smallest, -63);
  EXPECT_EQ(out->largest, 63u);
  // Every value but the last one is found by the next exchange.
  EXPECT_EQ(out->sum_of_exchanged + out->exchanged, 64 * 65 / 2);
  EXPECT_EQ(out->product, 2 * sum);
}

TEST(Words, VotesAndSegments) {
  Machine machine;
  auto* out = machine.allocate<VoteWords>(1);
  vote_words(machine.stream(), out);
  EXPECT_TRUE(out->all && out->any && out->every);
  EXPECT_FALSE(out->not_all || out->none || out->not_every);
  EXPECT_EQ(out->bits, 11);
  EXPECT_EQ(out->largest, 31.0f);
  EXPECT_EQ(out->in_segment, 0.5 * 11);
  EXPECT_EQ(out->down, 13);
  EXPECT_EQ(out->half, 29.0f);
}

TEST(Words, CopiesOfEverySize) {
  Machine machine;
  const float* x = random_floats(machine, 64);
  auto* y = machine.allocate<float>(64);
  copy_words(machine.stream(), x, y);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(y[i], i < 61 ? x[i] : 0.0f) << i;
}

TEST(Words, Numbers) {
  Machine machine;
  auto* x = machine.allocate<float>(32);
  for (int i = 0; i < 32; ++i) x[i] = 0.07f + 0.31f * static_cast<float>(i);
  auto* out = machine.allocate<NumberWords>(32);
  number_words(machine.stream(), x, out);
  const auto near = [](double value, double expected) {
    EXPECT_NEAR(value, expected, std::fabs(expected) * 0x1p-22 + 0x1p-24);
  };
  for (int i = 0; i < 32; ++i) {
    const NumberWords& o = out[i];
    near(o.exp2, std::exp2(double{x[i]}));
    near(o.exp, std::exp(double{x[i]}));
    near(o.log, std::log(double{x[i]}));
    near(o.quotient, double{x[i]} / 3);
    near(o.rsqrt, 1 / std::sqrt(double{x[i]}));
    EXPECT_EQ(o.rsqrt_f64, 1 / std::sqrt(double{x[i]}));
    EXPECT_EQ(o.larger, std::fmax(x[i], 1.0f));
    EXPECT_EQ(o.smaller, std::fmin(x[i], 1.0f));
    EXPECT_EQ(o.larger_f64, std::fmax(double{x[i]}, 1.0));
    EXPECT_EQ(o.smaller_f64, std::fmin(double{x[i]}, 1.0));
    EXPECT_EQ(o.clamped, i < 3 ? 3 : (i > 20 ? 20 : i));
    EXPECT_EQ(o.bf16_rounded, float{bf16(x[i])});
    EXPECT_EQ(o.f16_rounded, float{f16(x[i])});
    EXPECT_EQ(o.same, x[i]);
    EXPECT_EQ(o.packed, f16(x[i]).bits | std::uint32_t{f16(-x[i]).bits} << 16);
    EXPECT_EQ(o.of_four, x[i]);
  }
}

TEST(Language, AtomicsOfEverySize) {
  Machine machine;
  auto* out = machine.allocate<LanguageCounters>(1);
  *out = {};
  language_counters(machine.stream(), out);
  EXPECT_EQ(out->of_8, 64);
  EXPECT_EQ(out->of_16, 64);
  EXPECT_EQ(out->of_32, 64u);
  EXPECT_EQ(out->of_64, 64u);
  EXPECT_TRUE(out->last_8 == 7 && out->last_16 == 7 && out->last_32 == 7 && out->last_64 == 7);
}

TEST(Language, AtomicsOrderBlocksByTheirMemoryOrder) {
  constexpr int blocks = 20;
  const auto run = [](bool ordered) {
    return [=](Machine& machine) {
      auto *numbers = machine.allocate<int>(blocks), *counter = machine.allocate<int>(1),
           *sum = machine.allocate<int>(1);
      *counter = 0;
      language_ticket(ordered, machine.stream(), numbers, counter, sum, blocks);
      EXPECT_EQ(*sum, blocks * (blocks - 1) / 2);
    };
  };
  Machine machine;
  EXPECT_TRUE(reports_of([&] { run(true)(machine); }).empty());
  expect_diagnosed({"relaxed", run(false), {Finding::race}, "language.cpp", "number read"});
}

TEST(Language, MemoryFunctionsAreAccesses) {
  struct Row {
    MemoryFunction function;
    const char* name;
  };
  for (const auto& [function, name] :
       {Row{MemoryFunction::copy, "memcpy"}, Row{MemoryFunction::move, "memmove"},
        Row{MemoryFunction::set, "memset"}}) {
    const auto run = [which = function](int threads, int bytes) {
      return [=](Machine& machine) {
        const float* x = random_floats(machine, 10);
        auto* y = machine.allocate<float>(10);
        memory_function(which, machine.stream(), threads, x, y, bytes);
        for (int i = 0; i < 10; ++i) EXPECT_EQ(y[i], which == MemoryFunction::set ? 0.0f : x[i]);
      };
    };
    Machine machine;
    EXPECT_TRUE(reports_of([&] { run(1, 40)(machine); }).empty()) << name;
    expect_diagnosed({name, run(2, 40), {Finding::race}, "language.cpp", name});
    expect_diagnosed({name, run(1, 41), {Finding::out_of_bounds}, "language.cpp", name});
  }
}

}  // namespace
}  // namespace mettle::emulation_test
