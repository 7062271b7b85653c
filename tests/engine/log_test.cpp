// The log: levels, METTLE_LOG, and what an embedding program's sink receives.
#include "engine/log.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// Counts how often it is formatted; without a counter it cannot be.
struct Counted {
  int* looks;
};

template <> struct fmt::formatter<Counted> : fmt::formatter<int> {
  template <class Context> auto format(const Counted& counted, Context& context) const {
    if (!counted.looks) throw std::runtime_error("no counter");
    return fmt::formatter<int>::format(++*counted.looks, context);
  }
};

namespace mettle {
namespace {

class Log : public testing::Test {
 protected:
  Log() {
    set_log_sink([this](LogLevel level, std::string_view message) {
      lines_.push_back(std::string(to_string(level)) + ": " + std::string(message));
    });
  }
  ~Log() override {
    set_log_sink({});
    set_log_level(LogLevel::warning);
  }
  std::vector<std::string> lines_;
};

void log_all() {
  log_debug("{} of {}", 1, "two");
  log_info("{} of {}", 1, "two");
  log_warning("{} of {}", 1, "two");
  log_error("{} of {}", 1, "two");
}

TEST_F(Log, LevelsDropWhatIsBelow) {
  const std::vector<std::string> all = {"debug: 1 of two", "info: 1 of two", "warning: 1 of two",
                                        "error: 1 of two"};
  const LogLevel levels[] = {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error,
                             LogLevel::off};
  for (std::size_t i = 0; i < std::size(levels); ++i) {
    lines_.clear();
    set_log_level(levels[i]);
    EXPECT_EQ(log_level(), levels[i]);
    log_all();
    EXPECT_EQ(lines_, std::vector(all.begin() + static_cast<std::ptrdiff_t>(i), all.end()));
  }
}

TEST_F(Log, ArgumentsBelowTheLevelAreNotFormatted) {
  int looks = 0;
  log_info("{}", Counted{&looks});
  EXPECT_EQ(looks, 0);
  log_warning("{}", Counted{&looks});
  EXPECT_EQ(looks, 1);
}

TEST_F(Log, AnArgumentThatCannotBeFormattedIsSurvived) {
  log_error("{}", Counted{nullptr});
  EXPECT_EQ(lines_, std::vector<std::string>{"error: a message that could not be formatted"});
}

TEST_F(Log, BracesInAMessageAreNoFormat) {
  log_message(LogLevel::error, "{} {0} {");
  EXPECT_EQ(lines_, std::vector<std::string>{"error: {} {0} {"});
}

TEST_F(Log, ASinkThatThrowsIsSurvived) {
  int calls = 0;
  set_log_sink([&](LogLevel, std::string_view) {
    ++calls;
    throw std::runtime_error("sink");
  });
  log_error("one");
  log_error("two");
  EXPECT_EQ(calls, 2);
}

TEST_F(Log, OneThreadAtATimeIsInTheSink) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) log_warning("{} {}", t, i);
    });
  for (std::thread& thread : threads) thread.join();
  std::sort(lines_.begin(), lines_.end());
  EXPECT_EQ(lines_.size(), 2000u);
  EXPECT_EQ(std::unique(lines_.begin(), lines_.end()), lines_.end());
}

// The default sink and METTLE_LOG are read once in a process: each row is a process of its own.
void log_in_child(const char* variable) {
  if (variable)
    setenv("METTLE_LOG", variable, 1);
  else
    unsetenv("METTLE_LOG");
  log_all();
  std::exit(0);
}

TEST(LogProcess, EnvironmentSetsTheLevel) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto exits = testing::ExitedWithCode(0);
  EXPECT_EXIT(
      log_in_child(nullptr), exits,
      "^[-0-9]+ [:0-9]+ mettle warning: 1 of two\n[-0-9]+ [:0-9]+ mettle error: 1 of two\n$");
  EXPECT_EXIT(log_in_child("info"), exits, "^[-0-9: ]+ mettle info: 1 of two\n");
  EXPECT_EXIT(log_in_child("error"), exits, "^[-0-9: ]+ mettle error: 1 of two\n$");
  EXPECT_EXIT(log_in_child("off"), exits, "^$");
  EXPECT_EXIT(log_in_child("loud"), exits,
              "METTLE_LOG=loud is none of debug, info, warn, error, off");
}

}  // namespace
}  // namespace mettle
