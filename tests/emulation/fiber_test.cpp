// Fibers switch, keep their locals, and can be abandoned.
#include "kernels/emulation/fiber.h"

#include <gtest/gtest.h>

namespace mettle::emulation_test {
namespace {

TEST(Fiber, SwitchesAndKeepsItsLocals) {
  emulation::FiberStacks stacks(3);
  struct Counter {
    emulation::Fiber fiber;
    int sum = 0;
  };
  Counter counters[3];
  const auto entry = [](void* argument) {
    auto& counter = *static_cast<Counter*>(argument);
    double local = 0.5;  // survives switches, in a register or on the stack
    for (int i = 1; i <= 100; ++i) {
      local += i;
      counter.sum = static_cast<int>(local);
      counter.fiber.suspend();
    }
    counter.sum = -1;
    for (;;) counter.fiber.suspend(true);
  };
  for (int round = 0; round < 2; ++round) {  // the second time over fibers abandoned half way
    for (int i = 0; i < 3; ++i) counters[i].fiber.start(stacks.stack(i), entry, &counters[i]);
    for (int step = 1; step <= 50; ++step)
      for (Counter& counter : counters) {
        counter.fiber.resume();
        ASSERT_EQ(counter.sum, step * (step + 1) / 2);
      }
  }
  for (int step = 51; step <= 101; ++step) counters[1].fiber.resume();
  EXPECT_EQ(counters[1].sum, -1);
}

}  // namespace
}  // namespace mettle::emulation_test
