// Signals: the first is noted, the second kills, the earlier handlers come back.
#include "engine/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>
#include <optional>

#include "engine/check.h"

namespace mettle {
namespace {

int calls_of_own_handler = 0;
void own_handler(int) { ++calls_of_own_handler; }

TEST(Interrupt, TheFirstSignalIsNoted) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const InterruptScope scope;
    EXPECT_FALSE(scope.interrupted());
    std::raise(signal);
    EXPECT_TRUE(scope.interrupted());
    EXPECT_EQ(scope.signal(), signal);
  }
}

TEST(Interrupt, TheSecondSignalKills) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const int rows[][2] = {
      {SIGINT, SIGINT}, {SIGTERM, SIGTERM}, {SIGINT, SIGTERM}, {SIGTERM, SIGINT}};
  for (const auto& [first, second] : rows)
    EXPECT_EXIT(
        {
          const InterruptScope scope;
          std::raise(first);
          std::raise(second);
        },
        testing::KilledBySignal(second), "");
}

TEST(Interrupt, TheEarlierHandlerComesBack) {
  std::signal(SIGINT, own_handler);
  {
    const InterruptScope scope;
    std::raise(SIGINT);
  }
  EXPECT_EQ(calls_of_own_handler, 0);
  std::raise(SIGINT);
  EXPECT_EQ(calls_of_own_handler, 1);
  std::signal(SIGINT, SIG_DFL);
}

TEST(Interrupt, AnIgnoredSignalStaysIgnored) {
  std::signal(SIGTERM, SIG_IGN);
  {
    const InterruptScope scope;
    std::raise(SIGTERM);
    EXPECT_FALSE(scope.interrupted());
  }
  std::signal(SIGTERM, SIG_DFL);
}

TEST(Interrupt, OneScopeAtATime) {
  std::optional<InterruptScope> first(std::in_place);
  EXPECT_THROW(InterruptScope(), ValueError);
  std::raise(SIGINT);
  EXPECT_TRUE(first->interrupted());
  first.reset();
  EXPECT_FALSE(InterruptScope().interrupted());
}

}  // namespace
}  // namespace mettle
