// Records of a run: whole lines, no step twice after a resume, no foreign file harmed.
#include "engine/jsonl.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/check.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

using test::message_of;

class Jsonl : public test::TemporaryFolder {
 protected:
  std::string file() const { return (folder_ / "metrics.jsonl").string(); }
  std::string text() const { return read_file(file()); }
};

TEST_F(Jsonl, WritesOneLineARecordAtOnce) {
  JsonlWriter writer(file());
  writer.write(0, {{"loss", 0.5}, {"epoch", 1}, {"best", true}, {"name", "a\n\"b\""}});
  EXPECT_EQ(text(),
            "{\"step\":0,\"loss\":0.5,\"epoch\":1,\"best\":true,\"name\":\"a\\n\\\"b\\\"\"}\n");
  writer.write(0, {{"nan", std::numeric_limits<double>::quiet_NaN()},
                   {"inf", -std::numeric_limits<double>::infinity()},
                   {"tenth", 0.1},
                   {"bytes", "\xff"}});
  writer.write(7, {});
  EXPECT_EQ(text().substr(text().find('\n') + 1),
            "{\"step\":0,\"nan\":null,\"inf\":null,\"tenth\":0.1,\"bytes\":\"\xef\xbf\xbd\"}\n"
            "{\"step\":7}\n");
}

TEST_F(Jsonl, StepsNeverGoBack) {
  JsonlWriter writer(file(), 3);
  EXPECT_EQ(message_of<ValueError>([&] { writer.write(2, {}); }),
            file() + ": a record of step 2 after one of step 3");
  writer.write(5, {});
  EXPECT_THROW(writer.write(4, {}), ValueError);
  EXPECT_EQ(message_of<ValueError>([&] {
              writer.write(6, {{"step", 7}});
            }),
            file() + ": a field called \"step\" beside the step");
  EXPECT_EQ(text(), "{\"step\":5}\n");
}

TEST_F(Jsonl, AResumeCutsWhatWillBeWrittenAgain) {
  const std::string lines[] = {"{\"step\":1}\n", "{\"step\":1,\"x\":2}\n", "{\"step\":2}\n",
                               "{\"loss\":1,\"step\":4}\n"};
  const std::string all = lines[0] + lines[1] + lines[2] + lines[3];
  struct Row {
    std::string before;
    std::int64_t first_step;
    std::string after;
  };
  const Row rows[] = {
      {all, 0, ""},
      {all, 1, ""},
      {all, 2, lines[0] + lines[1]},
      {all, 3, lines[0] + lines[1] + lines[2]},
      {all, 5, all},
      {"", 5, ""},
      {all + "{\"step\":5,\"lo", 9, all},
      {all + std::string(100, '\0'), 9, all},
      {"{\"st", 9, ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.before + std::to_string(row.first_step));
    write_file(file(), row.before);
    JsonlWriter writer(file(), row.first_step);
    EXPECT_EQ(text(), row.after);
    writer.write(row.first_step, {});
    EXPECT_EQ(text(), row.after + "{\"step\":" + std::to_string(row.first_step) + "}\n");
  }
}

TEST_F(Jsonl, LeavesForeignFilesAlone) {
  for (const char* foreign :
       {"userId,movieId\n1,2\n", "[1]\n", "{\"loss\":1}\n", "{\"step\":1.5}\n",
        "{\"step\":1}\n{\"step\":2\n{\"step\":3}\n", "\n"}) {
    write_file(file(), foreign);
    const std::string message = message_of<FileError>([&] { JsonlWriter writer(file(), 9); });
    EXPECT_TRUE(message.ends_with("not a JSON object with an integer \"step\"")) << message;
    EXPECT_EQ(text(), foreign);
  }
  EXPECT_EQ(message_of<FileError>([&] { JsonlWriter writer(folder_ / "none/m.jsonl"); }),
            (folder_ / "none/m.jsonl").string() + ": cannot be opened: No such file or directory");
  EXPECT_THROW(JsonlWriter writer(folder_), FileError);
}

TEST_F(Jsonl, AFullDiskLeavesNoTornLine) {
  JsonlWriter writer(file());
  writer.write(1, {});
  {
    const test::FileSizeLimit limit(20);
    EXPECT_EQ(message_of<FileError>([&] {
                writer.write(2, {{"text", "a long one"}});
              }),
              file() + ": writing failed: File too large");
    EXPECT_EQ(text(), "{\"step\":1}\n");
  }
  writer.write(2, {});
  EXPECT_EQ(text(), "{\"step\":1}\n{\"step\":2}\n");
}

}  // namespace
}  // namespace mettle
