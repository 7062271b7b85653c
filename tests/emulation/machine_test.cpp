// The device around the kernels: single mistakes, memory, launches that are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/emulation/runtime.h"
#include "tests/emulation/kernels.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

void run_mistake(Machine& machine, Mistake which) {
  const float* x = random_floats(machine, 64);
  mistake(which, machine.stream(), x, machine.allocate<float>(64));
}

TEST(Machine, RunsTheExampleOfTheDocumentation) { EXPECT_TRUE(the_example_doubles()); }

TEST(Mistakes, AreDiagnosed) {
  using enum Mistake;
  const auto run = [](Mistake which) { return [=](Machine& m) { run_mistake(m, which); }; };
  const std::string file = "mistakes.cuh";
  const Planted rows[] = {
      {"read of shared memory that nobody wrote",
       run(uninitialised),
       {Finding::uninitialised_read},
       file,
       "uninitialised, read"},
      {"atomic addition to what nobody wrote",
       run(uninitialised_atomic),
       {Finding::uninitialised_read},
       file,
       "uninitialised_atomic"},
      {"misaligned copy",
       run(misaligned_copy),
       {Finding::misaligned},
       file,
       "misaligned_copy",
       true},
      {"misaligned row", run(misaligned_row), {Finding::misaligned}, file, "misaligned_row", true},
      {"unfinished copy",
       run(unfinished_copy),
       {Finding::unfinished_copy},
       file,
       "unfinished_copy",
       true},
      {"unfinished bulk copy",
       run(unfinished_bulk),
       {Finding::unfinished_copy},
       file,
       "unfinished_bulk",
       true},
      {"named barrier that half of its threads miss",
       run(named_barrier_missing),
       {Finding::deadlock},
       file,
       "named_barrier_missing",
       true},
      {"named barrier of part of a warp",
       run(named_barrier_count),
       {Finding::barrier_misuse},
       file,
       "named_barrier_count",
       true},
      {"mbarrier that nobody made",
       run(mbarrier_uninitialised),
       {Finding::barrier_misuse},
       file,
       "mbarrier_uninitialised",
       true},
      {"too many arrivals",
       run(mbarrier_over_arrival),
       {Finding::barrier_misuse},
       file,
       "mbarrier_over_arrival",
       true},
      {"static array beyond the limit",
       run(static_beyond_limit),
       {Finding::shared_memory},
       file,
       "static_beyond_limit",
       true},
      {"dynamic array beyond the launch",
       run(dynamic_beyond_launch),
       {Finding::shared_memory},
       file,
       "dynamic_beyond_launch",
       true},
      {"overlapping dynamic arrays",
       run(dynamic_overlap),
       {Finding::shared_memory},
       file,
       "dynamic_overlap",
       true},
      {"past the end", run(past_the_end), {Finding::out_of_bounds}, file, "past_the_end"},
      {"before the start",
       run(before_the_start),
       {Finding::out_of_bounds},
       file,
       "before_the_start"},
      {"assignment of a structure past the end",
       run(block_copy_past_the_end),
       {Finding::out_of_bounds},
       file,
       "block_copy_past_the_end"},
      {"another thread's local variable",
       run(other_threads_local),
       {Finding::out_of_bounds},
       file,
       "other_threads_local"},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

TEST(Mistakes, UseAfterReleaseIsDiagnosed) {
  expect_diagnosed({"use after release",
                    [](Machine& machine) {
                      auto* y = machine.allocate<float>(32);
                      machine.release(y);
                      write_ones(machine.stream(), y, 1, 32, 0);
                    },
                    {Finding::use_after_free},
                    "mistakes.cuh",
                    "ones"});
}

#ifdef METTLE_EMULATION_RACE  // elsewhere plain accesses are not seen
TEST(Mistakes, AReportNamesThreadsPlacesAndMemory) {
  Machine machine;
  const auto reports = reports_of([&] { run_mistake(machine, Mistake::before_the_start); });
  ASSERT_EQ(reports.size(), 1u);
  for (const char* part : {"thread (", "of block (0,0,0)", "4 bytes of device memory",
                           "of allocation 2, which has 256"})
    EXPECT_NE(reports[0].text.find(part), std::string::npos) << part << " in " << reports[0].text;
}
#endif

TEST(Mistakes, TheCheckOfUninitialisedReadsCanBeSwitchedOff) {
  Machine machine({.uninitialised_reads = false});
  EXPECT_TRUE(reports_of([&] { run_mistake(machine, Mistake::uninitialised); }).empty());
}

TEST(Mistakes, ALaunchAfterAMistakeStartsAfresh) {
  Machine machine;
  auto* y = machine.allocate<float>(64);
  EXPECT_FALSE(reports_of([&] { run_mistake(machine, Mistake::named_barrier_missing); }).empty());
  write_ones(machine.stream(), y, 1, 64, 0);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(y[i], 1.0f);
}

TEST(Machine, RefusesWhatNoGpuTakes) {
  Machine machine;
  auto* y = machine.allocate<float>(2048);
  struct Row {
    int blocks, threads, shared_bytes;
    Finding finding;
  };
  for (const Row& row :
       {Row{0, 32, 0, Finding::bad_launch}, Row{1, 0, 0, Finding::bad_launch},
        Row{1, 1025, 0, Finding::bad_launch}, Row{1, 32, 232449, Finding::shared_memory}}) {
    const auto reports = reports_of(
        [&] { write_ones(machine.stream(), y, row.blocks, row.threads, row.shared_bytes); });
    ASSERT_EQ(reports.size(), 1u) << row.blocks << " x " << row.threads << ", " << row.shared_bytes;
    EXPECT_EQ(reports[0].finding, row.finding) << reports[0].text;
  }
  write_ones(machine.stream(), y, 1, 1024, 232448);
  EXPECT_EQ(y[1023], 1.0f);
}

TEST(Machine, NeedsItsOwnStream) {
  EXPECT_THROW(write_ones({Device::cpu(), nullptr}, nullptr, 1, 32, 0), DeviceError);
  EXPECT_THROW(write_ones({Device::cuda(), nullptr}, nullptr, 1, 32, 0), DeviceError);
  EXPECT_THROW(emulation::thread_rank(), DeviceError);
}

TEST(Machine, MemoryIsNanAlignedAndNeverReused) {
  Machine machine;
  void* last = nullptr;
  for (int i = 1; i < 50; ++i) {
    const int count = 100 * i;
    auto* values = machine.allocate<float>(static_cast<std::size_t>(count));
    EXPECT_GT(static_cast<void*>(values), last);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(values) % 256, 0u);
    EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[count - 1]));
    last = values;
    machine.release(values);
    EXPECT_THROW(machine.release(values), ValueError);
  }
  machine.release(nullptr);
  EXPECT_THROW(machine.allocate<float>(std::size_t{1} << 40), MemoryError);
}

TEST(Machine, PassesOnWhatAKernelThrows) {
  Machine machine;
  const auto kernel = [](const void*) {
    if (emulation::thread_rank() == 7) throw std::runtime_error("seven");
  };
  EXPECT_THROW(
      emulation::launch(machine.stream(), {{{2, 1, 1}, {32, 1, 1}, 0}, false, kernel, nullptr}),
      std::runtime_error);
}

TEST(Machine, IndicesCoverTheGrid) {
  Machine machine;
  struct Seen {
    std::vector<int> times = std::vector<int>(2 * 3 * 2 * 4 * 2 * 2);
    bool sizes = true;
  } seen;
  const auto kernel = [](const void* argument) {
    auto& s = *const_cast<Seen*>(static_cast<const Seen*>(argument));
    const dev::Dim3 b = emulation::block_index(), t = emulation::thread_index();
    const int number = ((b.z * 3 + b.y) * 2 + b.x) * 16 + (t.z * 2 + t.y) * 4 + t.x;
    ++s.times[static_cast<std::size_t>(number)];
    s.sizes = s.sizes && emulation::grid_size() == dev::Dim3{2, 3, 2} &&
              emulation::block_size() == dev::Dim3{4, 2, 2} &&
              emulation::thread_rank() == (t.z * 2 + t.y) * 4 + t.x;
  };
  emulation::launch(machine.stream(),
                    {{{2, 3, 2}, {4, 2, 2}, 0},
                     false,
                     kernel,
                     std::shared_ptr<const void>(std::shared_ptr<void>(), &seen)});
  EXPECT_TRUE(seen.sizes);
  for (const int times : seen.times) EXPECT_EQ(times, 1);
}

}  // namespace
}  // namespace mettle::emulation_test
