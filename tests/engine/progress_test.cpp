// Progress on a terminal and elsewhere, by a clock that the test moves.
#include "engine/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "engine/check.h"
#include "engine/file.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

// A stream and a clock for one Progress.
struct Stage {
  double now = 100;
  std::ostringstream out;

  Progress::Clock clock() {
    return [this] { return now; };
  }
  // What has come since the last call.
  std::string take() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

TEST(ProgressLines, OnceInTenSecondsAndAtTheEnd) {
  Stage stage;
  {
    Progress progress(stage.out, {}, "train", 1000, 0, stage.clock());
    EXPECT_EQ(stage.take(), "");
    for (int step = 1; step <= 99; ++step) {
      stage.now += 0.1;
      progress.update(step, 0.7);
    }
    EXPECT_EQ(stage.take(), "");
    stage.now = 110;
    progress.update(100, 0.61234);
    EXPECT_EQ(stage.take(), "train  100/1000  10.0/s  1:30 left  loss 0.6123\n");
    stage.now = 119.9;
    progress.update(199);
    EXPECT_EQ(stage.take(), "");
    progress.note("epoch 1: auc .7");
    EXPECT_EQ(stage.take(), "epoch 1: auc .7\n");
    stage.now = 150;
    progress.update(250);
    EXPECT_EQ(stage.take(), "train  250/1000  5.0/s  2:30 left\n");
  }
  EXPECT_EQ(stage.take(), "train  250/1000  5.0/s  0:50 taken\n");
}

TEST(ProgressLines, ARunThatGoesOnCountsItsOwnStepsForTheRate) {
  Stage stage;
  Progress progress(stage.out, {}, "train", 1000, 900, stage.clock());
  stage.now += 10;
  progress.update(905, 1);
  EXPECT_EQ(stage.take(), "train  905/1000  2.0 s each  3:10 left  loss 1.0000\n");
  progress.finish();
  EXPECT_EQ(stage.take(), "train  905/1000  2.0 s each  0:10 taken  loss 1.0000\n");
  progress.finish();
  progress.update(1000);
  EXPECT_EQ(stage.take(), "");
}

TEST(ProgressLines, NothingToDo) {
  Stage stage;
  {
    Progress progress(stage.out, {}, "train", 0, 0, stage.clock());
    stage.now += 1;
  }
  EXPECT_EQ(stage.take(), "train  0/0  0:01 taken\n");
  EXPECT_THROW(Progress(stage.out, {}, "train", 1, 2), ValueError);
  EXPECT_THROW(Progress(stage.out, {}, "train", 1, -1), ValueError);
}

TEST(ProgressLines, TheTotalMayGrow) {
  Stage stage;
  Progress progress(stage.out, {}, "search", 100, 0, stage.clock());
  stage.now += 10;
  progress.update(90);
  EXPECT_EQ(stage.take(), "search  90/100  9.0/s  0:01 left\n");
  progress.expect(270);
  stage.now += 10;
  progress.update(180);
  EXPECT_EQ(stage.take(), "search  180/270  9.0/s  0:10 left\n");
}

constexpr Terminal kTerminal{.redraws = true, .colours = false, .columns = 62};

TEST(ProgressBar, RedrawsItsLine) {
  Stage stage;
  Progress progress(stage.out, kTerminal, "train", 200, 0, stage.clock());
  EXPECT_EQ(stage.take(), "\rtrain   0% [" + std::string(40, ' ') + "]  0/200\x1b[K");
  stage.now = 101;
  progress.update(50, 0.5);
  EXPECT_EQ(stage.take(), "\rtrain  25% [==      ]  50/200  50.0/s  0:03 left  loss 0.5000\x1b[K");
  progress.note("saved");
  EXPECT_EQ(stage.take(),
            "\r\x1b[Ksaved\n\rtrain  25% [==      ]  50/200  50.0/s  0:03 left  loss 0.5000\x1b[K");
  stage.now = 104;
  progress.update(200, 0.25);
  progress.finish();
  const std::string end = stage.take();
  EXPECT_EQ(end.substr(end.rfind('\r')),
            "\rtrain 100%  200/200  50.0/s  0:04 taken  loss 0.2500\x1b[K\n");
}

TEST(Progress, WhatTookLessThanASecondLeavesNoLine) {
  Stage stage;
  for (const bool redraws : {false, true}) {
    {
      Progress progress(stage.out, {.redraws = redraws}, "train", 200, 0, stage.clock());
      stage.now += 0.9;
      progress.update(200);
      stage.take();
    }
    EXPECT_EQ(stage.take(), redraws ? "\r\x1b[K" : "");
  }
}

TEST(ProgressBar, AtMostTenRedrawsASecond) {
  Stage stage;
  Progress progress(stage.out, kTerminal, "train", 10'000, 0, stage.clock());
  stage.take();
  for (int step = 1; step <= 10'000; ++step) {
    stage.now += 0.001;
    progress.update(step);
  }
  const std::string text = stage.take();
  const auto redraws = std::count(text.begin(), text.end(), '\r');
  EXPECT_GE(redraws, 90);
  EXPECT_LE(redraws, 100);
}

// Width of what is visible in the last redraw.
std::size_t visible_columns(const std::string& text) {
  std::size_t columns = 0;
  for (std::size_t i = text.rfind('\r') + 1; i < text.size(); ++i) {
    if (text[i] == '\x1b')
      i = text.find_first_of("mK", i);
    else
      ++columns;
  }
  return columns;
}

TEST(ProgressBar, FitsEveryWidthAndColoursOnlyWhereAllowed) {
  for (int columns = 1; columns <= 200; ++columns) {
    for (const bool colours : {false, true}) {
      Stage stage;
      Progress progress(stage.out, {.redraws = true, .colours = colours, .columns = columns},
                        "meta-train", 100, 0, stage.clock());
      stage.now += 30;
      progress.update(40, 0.61);
      const std::string text = stage.take();
      EXPECT_LE(visible_columns(text), static_cast<std::size_t>(std::max(columns - 1, 1)));
      const bool has_bar = text.find("% [", text.rfind('\r')) != std::string::npos;
      EXPECT_EQ(text.find("\x1b[32m", text.rfind('\r')) != std::string::npos, colours && has_bar);
    }
  }
}

TEST(ProgressText, Clock) {
  const std::pair<double, const char*> rows[] = {
      {0, "0:00"},       {6.6, "0:07"},      {59.6, "1:00"}, {725, "12:05"},
      {3599.4, "59:59"}, {11045, "3:04:05"}, {-1, "0:00"},   {1e300, "277777:46:40"}};
  for (const auto& [seconds, text] : rows) EXPECT_EQ(clock_text(seconds), text);
}

class ProgressTerminal : public test::TemporaryFolder {};

TEST_F(ProgressTerminal, AFileIsNone) {
  write_file(folder_ / "f", "");
  std::FILE* file = std::fopen((folder_ / "f").c_str(), "r");
  ASSERT_NE(file, nullptr);
  setenv("COLUMNS", "123", 1);
  const Terminal terminal = terminal_of(fileno(file));
  EXPECT_FALSE(terminal.redraws);
  EXPECT_FALSE(terminal.colours);
  EXPECT_EQ(terminal.columns, 123);
  for (const char* text : {"", "x", "-5", "0"}) {
    setenv("COLUMNS", text, 1);
    EXPECT_EQ(terminal_of(fileno(file)).columns, 80) << text;
  }
  unsetenv("COLUMNS");
  std::fclose(file);
}

}  // namespace
}  // namespace mettle
