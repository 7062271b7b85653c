// What orders memory and what does not: the detector follows every chain of synchronisation and
// takes none for another. Warp operations beside it.
#include <gtest/gtest.h>

#include <string>

#include "tests/emulation/kernels.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using emulation::Finding;
using emulation::Machine;

TEST(Ordering, WhatSynchronisesIsNoRace) {
  for (int how = 0; how < first_unordered; ++how) {
    Machine machine;
    const float* x = random_floats(machine, 32);
    auto* y = machine.allocate<float>(32);
    for (int seed = 0; seed < seeds; ++seed) {
      machine.reseed(static_cast<std::uint64_t>(seed));
      const auto reports =
          reports_of([&] { ordering(static_cast<Ordering>(how), machine.stream(), x, y); });
      ASSERT_TRUE(reports.empty())
          << "ordering " << how << ", seed " << seed << ": " << reports.front().text;
      // These read only what is there.
      if (static_cast<Ordering>(how) == Ordering::atomics ||
          static_cast<Ordering>(how) == Ordering::release_acquire)
        continue;
      for (int i = 0; i < 32; ++i) ASSERT_EQ(y[i], x[i]) << "ordering " << how;
    }
  }
}

// Although in `other_warps_barrier` two warps met and in others the reader did wait for something.
TEST(Ordering, WhatDoesNotIsARace) {
  for (int how = first_unordered; how <= static_cast<int>(Ordering::atomics_without_fence); ++how) {
    const auto run = [=](Machine& machine) {
      ordering(static_cast<Ordering>(how), machine.stream(), random_floats(machine, 32),
               machine.allocate<float>(32));
    };
    for (const char* marker :
         {"write",
          static_cast<Ordering>(how) == Ordering::shuffle_only ? "read in the warp" : "read"})
      expect_diagnosed(
          {"ordering " + std::to_string(how), run, {Finding::race}, "ordering.cuh", marker});
  }
}

float* run_tickets(Machine& machine, TicketFault fault, const float* x, int blocks) {
  auto* ticket = machine.allocate<int>(1);
  auto* total = machine.allocate<float>(1);
  *ticket = 0;
  ticket_sum(fault, machine.stream(), x, machine.allocate<float>(static_cast<std::size_t>(blocks)),
             ticket, total, blocks);
  return total;
}

TEST(Ordering, TheLastBlockMayReadWhatTheOthersWrote) {
  constexpr int blocks = 40;
  for (int seed = 0; seed < seeds; ++seed) {
    Machine machine({.seed = static_cast<std::uint64_t>(seed)});
    const float* x = random_floats(machine, blocks * 32);
    double sum = 0;
    for (int i = 0; i < blocks * 32; ++i) sum += x[i];
    EXPECT_NEAR(*run_tickets(machine, TicketFault::none, x, blocks), sum, blocks * 32 * 0x1p-20);
  }
}

TEST(Ordering, TicketsWithoutFencesAreRaces) {
  for (const TicketFault fault : {TicketFault::no_fence_before, TicketFault::no_fence_after}) {
    const auto run = [=](Machine& machine) {
      run_tickets(machine, fault, random_floats(machine, 40 * 32), 40);
    };
    for (const char* marker : {"ticket write", "ticket read"})
      expect_diagnosed({"ticket", run, {Finding::race}, "ordering.cuh", marker});
  }
}

TEST(Ordering, AtomicsInSharedMemoryDoNotOrderBlocks) {
  const auto run = [](Machine& machine) {
    shared_atomics(machine.stream(), machine.allocate<float>(1), 2);
  };
  expect_diagnosed(
      {"shared atomics", run, {Finding::race}, "ordering.cuh", "write of every block"});
}

TEST(Ordering, AnMbarrierOrdersItsOwnCopiesOnly) {
  const auto run = [](TwoCopiesFault fault) {
    return [=](Machine& machine) {
      const float* x = random_floats(machine, 32);
      auto* y = machine.allocate<float>(32);
      two_copies(fault, machine.stream(), x, y);
      for (int i = 0; i < 32; ++i) ASSERT_EQ(y[i], x[i]);
    };
  };
  Machine machine;
  EXPECT_TRUE(reports_of([&] { run(TwoCopiesFault::none)(machine); }).empty());
  expect_diagnosed({"the other mbarrier",
                    run(TwoCopiesFault::wrong_mbarrier),
                    {Finding::in_flight, Finding::race},
                    "ordering.cuh",
                    "copied read"});
}

TEST(Warps, ExchangeThroughSharedMemory) {
  using enum ExchangeFault;
  const auto run = [](ExchangeFault fault) {
    return [=](Machine& machine) {
      const float* x = random_floats(machine, 64);
      auto* y = machine.allocate<float>(64);
      exchange(fault, machine.stream(), x, y);
      for (int i = 0; i < 64; ++i) ASSERT_EQ(y[i], 2 * x[i]);
    };
  };
  Machine machine;
  EXPECT_TRUE(reports_of([&] { run(none)(machine); }).empty());
  for (const Planted& row : {Planted{"no sync_warp after the write",
                                     run(no_sync_after_write),
                                     {Finding::race},
                                     "warps.cuh",
                                     "first read"},
                             Planted{"no sync_warp after the read",
                                     run(no_sync_after_read),
                                     {Finding::race},
                                     "warps.cuh",
                                     "second write"}})
    expect_diagnosed(row);
}

const int* vote_input(Machine& machine) {
  auto* in = machine.allocate<int>(32);
  for (int i = 0; i < 32; ++i) in[i] = i % 3;
  in[20] = 7;
  return in;
}

TEST(Warps, VotesAndShuffles) {
  for (int seed = 0; seed < seeds; ++seed) {
    Machine machine({.seed = static_cast<std::uint64_t>(seed)});
    const int* in = vote_input(machine);
    auto* out = machine.allocate<VotesResult>(1);
    votes(VotesFault::none, machine.stream(), in, out);
    std::uint32_t ballot = 0;
    int count = 0, sum = 0;
    for (int i = 0; i < 32; ++i) {
      ballot |= std::uint32_t{in[i] != 0} << i;
      count += in[i] != 0 ? 1 : 0;
      sum += in[i];
    }
    EXPECT_EQ(out->ballot, ballot);
    EXPECT_EQ(out->any, 1);
    EXPECT_EQ(out->count, count);
    EXPECT_EQ(out->sum, sum);
    EXPECT_EQ(out->down, in[4]);
    EXPECT_EQ(out->up, in[30]);
  }
}

TEST(Warps, MistakesAreDiagnosed) {
  using enum VotesFault;
  const auto run = [](VotesFault fault) {
    return [=](Machine& machine) {
      votes(fault, machine.stream(), vote_input(machine), machine.allocate<VotesResult>(1));
    };
  };
  const std::string file = "warps.cuh";
  const Planted rows[] = {
      {"full mask in half a warp",
       run(half_warp),
       {Finding::inactive_lane},
       file,
       "half_warp",
       true},
      {"shuffle from a lane that takes no part",
       run(inactive_lane),
       {Finding::inactive_lane},
       file,
       "inactive_lane",
       true},
      {"lanes on different lines",
       run(divergent_lines),
       {Finding::divergent_warp},
       file,
       "divergent_lines, first",
       true},
  };
  for (const Planted& row : rows) expect_diagnosed(row);
}

}  // namespace
}  // namespace mettle::emulation_test
