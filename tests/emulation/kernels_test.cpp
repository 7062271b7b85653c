// Whole kernels: right answers against naive sums in f64, the same bits and no report for every
// order of threads, and a diagnosis for every mistake planted in them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/half.h"
#include "tests/emulation/kernels.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

bf16* random_halves(Machine& machine, std::size_t count, int stream) {
  const float* values = random_floats(machine, count, stream);
  auto* halves = machine.allocate<bf16>(count);
  for (std::size_t i = 0; i < count; ++i) halves[i] = bf16(values[i]);
  return halves;
}

// Runs the kernel with every seed: no report, and `result` has the bits that it had before.
template <class T>
void expect_same_bits(Machine& machine, const T* result, std::size_t count,
                      const std::function<void()>& run) {
  std::vector<T> first;
  for (int seed = 0; seed < seeds; ++seed) {
    machine.reseed(static_cast<std::uint64_t>(seed));
    for (const auto& report : reports_of(run))
      FAIL() << "seed " << seed << ": " << to_string(report.finding) << ": " << report.text;
    if (seed == 0) first.assign(result, result + count);
    ASSERT_EQ(std::memcmp(first.data(), result, count * sizeof(T)), 0) << "seed " << seed;
  }
}

// ---- softmax ------------------------------------------------------------------------------------
void run_softmax(Machine& machine, SoftmaxFault fault, int rows, int n) {
  auto* done = machine.allocate<float>(1);
  *done = 0;
  const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(n);
  softmax(fault, machine.stream(), random_floats(machine, count), machine.allocate<float>(count),
          done, rows, n);
}

TEST(EmulatedSoftmax, IsRightInEveryOrder) {
  constexpr int rows = 3, n = 1000;
  Machine machine;
  const float* x = random_floats(machine, rows * n);
  auto *y = machine.allocate<float>(rows * n), *done = machine.allocate<float>(1);
  *done = 0;
  expect_same_bits(machine, y, rows * n,
                   [&] { softmax(SoftmaxFault::none, machine.stream(), x, y, done, rows, n); });
  EXPECT_EQ(*done, rows * seeds);
  for (int row = 0; row < rows; ++row) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += std::exp(double{x[row * n + i]});
    // n roundings of the sum, a few of exp() and of the division.
    for (int i = 0; i < n; ++i) {
      const double expected = std::exp(double{x[row * n + i]}) / sum;
      ASSERT_NEAR(y[row * n + i], expected, expected * (n + 16) * 0x1p-24);
    }
  }
}

TEST(EmulatedSoftmax, MistakesAreDiagnosed) {
  using enum SoftmaxFault;
  const auto run = [](SoftmaxFault fault, int n) {
    return [=](Machine& machine) { run_softmax(machine, fault, 3, n); };
  };
  const std::string file = "softmax.cuh";
  const Planted rows[] = {
      {"missing sync_block", run(missing_sync, 1000), {Finding::race}, file, "missing_sync"},
      {"divergent barrier",
       run(divergent_barrier, 1000),
       {Finding::divergent_barrier},
       file,
       "divergent_barrier, first",
       true},
      {"shared out of bounds",
       run(shared_bounds, 1000),
       {Finding::out_of_bounds},
       file,
       "shared_bounds, write"},
      {"global out of bounds",
       run(global_bounds, 1000),
       {Finding::out_of_bounds},
       file,
       "global_bounds"},
      {"early return",
       run(early_return, 96),
       {Finding::divergent_barrier},
       file,
       "early_return",
       true},
      {"plain addition across blocks", run(plain_add, 1000), {Finding::race}, file, "plain_add"},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

// ---- gemm ---------------------------------------------------------------------------------------
GemmArgs gemm_args(Machine& machine, int m, int n, int k) {
  const auto size = [](int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  };
  return {random_halves(machine, size(m, k), 0),
          random_halves(machine, size(k, n), 1),
          machine.allocate<float>(size(m, n)),
          m,
          n,
          k};
}

void expect_product(const GemmArgs& args) {
  for (int i = 0; i < args.m; ++i)
    for (int j = 0; j < args.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int k = 0; k < args.k; ++k) {
        const double term = double{args.a[i * args.k + k]} * double{args.b[k * args.n + j]};
        sum += term;
        magnitude += std::fabs(term);
      }
      // Products of bf16 are exact in f32; k roundings of sums.
      ASSERT_NEAR(args.c[i * args.n + j], sum, args.k * 0x1p-24 * magnitude) << i << ", " << j;
    }
}

TEST(EmulatedGemm, IsRightInEveryOrder) {
  Machine machine;
  const GemmArgs args = gemm_args(machine, 100, 72, 136);
  expect_same_bits(machine, args.c, 100 * 72,
                   [&] { gemm(GemmFault::none, machine.stream(), args); });
  expect_product(args);
}

TEST(EmulatedGemm, CountsBankConflicts) {
  const auto conflicts = [](GemmFault fault) {
    Machine machine;
    const GemmArgs args = gemm_args(machine, 64, 64, 64);
    gemm(fault, machine.stream(), args);
    expect_product(args);
    // 2 steps of 2 slices, 4 warps, 4 loads of 4 matrices.
    EXPECT_EQ(machine.counts().ldmatrix_phases, 2 * 2 * 4 * 4 * 4);
    return machine.counts().ldmatrix_conflicts;
  };
  EXPECT_EQ(conflicts(GemmFault::none), 0);
  // Unpadded, the rows of A are 64 bytes apart: eight rows fall into two places, three too many in
  // each phase. Those of B are 128 bytes apart: seven too many.
  EXPECT_EQ(conflicts(GemmFault::unpadded), 2 * 2 * 4 * 2 * 4 * (3 + 7));
}

TEST(EmulatedGemm, MistakesAreDiagnosed) {
  using enum GemmFault;
  const auto run = [](GemmFault fault) {
    return
        [=](Machine& machine) { gemm(fault, machine.stream(), gemm_args(machine, 100, 72, 136)); };
  };
  const std::string file = "gemm.cuh";
  const Planted rows[] = {
      {"missing wait", run(missing_wait), {Finding::in_flight}, file, "a", true},
      {"no sync after wait", run(no_sync_after_wait), {Finding::race}, file, "a"},
      {"no sync at the end of the loop", run(no_sync_at_end), {Finding::race}, file, "copy"},
      {"no row bound", run(no_row_bound), {Finding::out_of_bounds}, file, "copy", true},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

// ---- attention ----------------------------------------------------------------------------------
AttentionArgs attention_args(Machine& machine, int heads, int n) {
  const auto rows = static_cast<std::size_t>(heads) * static_cast<std::size_t>(n);
  return {random_halves(machine, rows * 64, 0),
          random_halves(machine, rows * 64, 1),
          random_halves(machine, rows * 64, 2),
          machine.allocate<bf16>(rows * 64),
          machine.allocate<float>(rows),
          n,
          0.125f * 1.44269504f};
}

// The largest error of o as a multiple of what bf16 allows: weights and result are rounded to 8
// bits.
double attention_error(const AttentionArgs& args, int heads, bool causal) {
  const auto row_of = [](const bf16* matrix, std::int64_t row) { return matrix + row * 64; };
  double worst = 0;
  for (std::int64_t head = 0; head < heads; ++head)
    for (int i = 0; i < args.n; ++i) {
      const std::int64_t first = head * args.n;
      const int keys = causal ? i + 1 : args.n;
      std::vector<double> weights;
      double sum = 0;
      for (int j = 0; j < keys; ++j) {
        double score = 0;
        for (int d = 0; d < 64; ++d)
          score += double{row_of(args.q, first + i)[d]} * double{row_of(args.k, first + j)[d]};
        weights.push_back(std::exp(0.125 * score));
        sum += weights.back();
      }
      for (int d = 0; d < 64; ++d) {
        double value = 0, magnitude = 0;
        for (int j = 0; j < keys; ++j) {
          const double term =
              weights[static_cast<std::size_t>(j)] / sum * double{row_of(args.v, first + j)[d]};
          value += term;
          magnitude += std::fabs(term);
        }
        const double error = std::fabs(double{row_of(args.o, first + i)[d]} - value);
        const double allowed = (magnitude + std::fabs(value)) * 0x1p-9 + 64 * 0x1p-20;
        worst = std::isnan(error) ? INFINITY : std::max(worst, error / allowed);
      }
    }
  return worst;
}

TEST(EmulatedAttention, IsRightInEveryOrder) {
  struct Row {
    bool causal;
    int heads, n;
  };
  for (const Row& row : {Row{false, 2, 128}, Row{true, 2, 100}, Row{true, 1, 192}}) {
    Machine machine;
    const AttentionArgs args = attention_args(machine, row.heads, row.n);
    const int count = row.heads * row.n * 64;
    expect_same_bits(machine, args.o, static_cast<std::size_t>(count), [&] {
      attention(AttentionFault::none, row.causal, machine.stream(), row.heads, args);
    });
    EXPECT_LE(attention_error(args, row.heads, row.causal), 1.0)
        << "causal " << row.causal << ", n " << row.n;
    EXPECT_EQ(machine.counts().ldmatrix_conflicts, 0);
  }
}

TEST(EmulatedAttention, MistakesAreDiagnosed) {
  using enum AttentionFault;
  const auto run = [](AttentionFault fault) {
    return [=](Machine& machine) {
      attention(fault, false, machine.stream(), 1, attention_args(machine, 1, 192));
    };
  };
  const std::string file = "attention.cuh";
  const Planted rows[] = {
      {"missing wait", run(missing_wait), {Finding::in_flight}, file, "k", true},
      {"no sync after wait", run(no_sync_after_wait), {Finding::race}, file, "k"},
      {"no sync at the end of the loop", run(no_sync_at_end), {Finding::race}, file, "copy"},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

TEST(EmulatedAttention, MistakesOfMathematicsGiveWrongResults) {
  using enum AttentionFault;
  struct Row {
    AttentionFault fault;
    int n;
  };
  for (const auto& [fault, n] : {Row{no_max_over_lanes, 128}, Row{no_key_bound, 100}}) {
    Machine machine;
    const AttentionArgs args = attention_args(machine, 1, n);
    attention(fault, false, machine.stream(), 1, args);
    EXPECT_GT(attention_error(args, 1, false), 1.0) << "fault " << static_cast<int>(fault);
  }
}

// ---- pipeline -----------------------------------------------------------------------------------
TEST(EmulatedPipeline, IsRightInEveryOrder) {
  constexpr int tiles = 7, columns = pipeline_columns;
  Machine machine;
  const float* x = random_floats(machine, tiles * columns);
  auto* y = machine.allocate<float>(columns);
  expect_same_bits(machine, y, columns,
                   [&] { pipeline(PipelineFault::none, machine.stream(), x, y, tiles); });
  for (int column = 0; column < columns; ++column) {
    double sum = 0;
    for (int tile = 0; tile < tiles; ++tile) sum += x[tile * columns + column];
    EXPECT_NEAR(y[column], sum, tiles * tiles * 0x1p-24);
  }
}

TEST(EmulatedPipeline, MistakesAreDiagnosed) {
  using enum PipelineFault;
  const auto run = [](PipelineFault fault) {
    return [=](Machine& machine) {
      pipeline(fault, machine.stream(), random_floats(machine, 7 * pipeline_columns),
               machine.allocate<float>(pipeline_columns), 7);
    };
  };
  const std::string file = "pipeline.cuh";
  const Planted rows[] = {
      {"no wait for full", run(no_full_wait), {Finding::in_flight, Finding::race}, file, "read"},
      {"no wait for empty", run(no_empty_wait), {Finding::barrier_misuse}, file, "arrive", true},
      {"wait for full in place of empty", run(full_for_empty), {Finding::race}, file, "copy"},
      {"wrong parity", run(wrong_parity), {Finding::in_flight, Finding::race}, file, "read"},
      {"wrong number of bytes", run(wrong_bytes), {Finding::deadlock}, file, "full wait", true},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

}  // namespace
}  // namespace mettle::emulation_test
