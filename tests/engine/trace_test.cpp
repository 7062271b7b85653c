// Traces: what a file of ranges holds, that it can be read at any moment, and what goes wrong.
#include "engine/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/log.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

using Json = nlohmann::json;
using test::message_of;
using testing::HasSubstr;

class TraceTest : public test::TemporaryFolder {
 protected:
  /// The ranges of the file, in the order in which they ended.
  std::vector<Json> ranges() const {
    std::vector<Json> found;
    for (const Json& event : Json::parse(read_file(path_)))
      if (event.at("ph") == "X") found.push_back(event);
    return found;
  }
  const std::filesystem::path path_ = folder_ / "trace.json";
};

TEST_F(TraceTest, RangesNestAndKeepTheirTimes) {
  {
    const Trace trace(path_);
    const TraceRange outer("outer");
    const TraceRange inner("inner", "kernel", [] { return std::string("naive \"\\\n"); });
  }
  const std::vector<Json> found = ranges();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].at("name"), "inner");
  EXPECT_EQ(found[0].at("cat"), "kernel");
  EXPECT_EQ(found[0].at("args").at("detail"), "naive \"\\\n");
  EXPECT_EQ(found[1].at("name"), "outer");
  EXPECT_EQ(found[0].at("tid"), found[1].at("tid"));
  const auto begin = [&](int i) { return found[i].at("ts").get<double>(); };
  const auto end = [&](int i) { return begin(i) + found[i].at("dur").get<double>(); };
  EXPECT_LE(begin(1), begin(0));
  EXPECT_LE(end(0), end(1));
}

TEST_F(TraceTest, ThreadsHaveRowsOfTheirOwn) {
  {
    const Trace trace(path_);
    const TraceRange here("here");
    std::thread([] { const TraceRange there("there"); }).join();
  }
  const std::vector<Json> found = ranges();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].at("tid"), found[1].at("tid"));
}

TEST_F(TraceTest, WithoutATraceNothingIsDescribed) {
  const TraceRange range("quiet", "range", []() -> std::string { throw std::bad_alloc(); });
}

TEST_F(TraceTest, RangesBelongToTheTraceInWhichTheyBegan) {
  std::optional<TraceRange> early, late;
  early.emplace("before the trace");
  std::optional<Trace> trace(path_);
  early.reset();
  late.emplace("longer than the trace");
  trace.reset();
  EXPECT_TRUE(ranges().empty());
  trace.emplace(path_);
  late.reset();
  trace.reset();
  EXPECT_TRUE(ranges().empty());
}

TEST_F(TraceTest, AnInterruptedTraceIsReadableUpToItsLastLine) {
  const Trace trace(path_);
  for (int i = 0; i < 2000; ++i) const TraceRange range("step");
  std::string text = read_file(path_);
  ASSERT_GT(text.size(), 65000u);
  text = text.substr(0, text.rfind(",\n")) + "]";
  EXPECT_GT(Json::parse(text).size(), 500u);
}

TEST_F(TraceTest, AFullDiskEndsTheTraceNotTheProgram) {
  std::string said;
  set_log_sink([&](LogLevel, std::string_view message) { said += message; });
  {
    const Trace trace(path_);
    const test::FileSizeLimit disk(1000);
    for (int i = 0; i < 2000; ++i) const TraceRange range("step");
  }
  set_log_sink({});
  EXPECT_THAT(said, HasSubstr("the trace ends here: "));
  EXPECT_THAT(said, HasSubstr(path_.native()));
}

TEST_F(TraceTest, RefusesAPathThatCannotBeWrittenAndASecondTrace) {
  EXPECT_THAT(message_of<FileError>([&] { const Trace trace(folder_ / "none" / "x.json"); }),
              HasSubstr("cannot be written: No such file"));
  const Trace trace(path_);
  EXPECT_THAT(message_of<ValueError>([&] { const Trace second(folder_ / "second.json"); }),
              HasSubstr("another trace is being written"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "second.json"));
}

}  // namespace
}  // namespace mettle
