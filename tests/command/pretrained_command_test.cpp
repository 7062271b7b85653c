// `mettle embed` and `mettle import` on a small golden encoder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/command/program.h"

namespace mettle::command_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

/// A copy of a golden folder with a vocabulary of its 30 tokens.
class Model {
 public:
  explicit Model(const std::string& golden) {
    for (const auto& entry : fs::directory_iterator(fs::path(METTLE_GOLDEN_DIR) / golden))
      if (entry.path().filename() != "expected.safetensors")
        fs::copy(entry.path(), folder_.path() / entry.path().filename());
    std::string vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (char c = 'a'; c < 'z'; ++c) vocab += std::string(1, c) + "\n";
    write(folder_ / "vocab.txt", vocab);
  }
  std::string path() const { return folder_.path().string(); }
  std::string operator/(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
};

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) out.push_back(json::parse(line));
  return out;
}

TEST(Embed, PrintsALineForEachText) {
  const Model model("bert");
  const Outcome done = run({"embed", "--model", model.path(), "a b", "c", "a b"});
  ASSERT_EQ(done.code, 0) << done.err;
  const std::vector<json> lines = lines_of(done.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["text"], "a b");
  EXPECT_EQ(lines[0]["vector"].size(), 12u);
  EXPECT_EQ(lines[0]["vector"], lines[2]["vector"]);
  EXPECT_NE(lines[0]["vector"], lines[1]["vector"]);
  const std::string first =
      run({"embed", "--model", model.path(), "--pooling", "first", "a b"}).out;
  EXPECT_NE(lines_of(first)[0]["vector"], lines[0]["vector"]);
}

TEST(Embed, ReadsLinesAndWritesFiles) {
  const Model model("bert");
  write(model / "texts", "a b\r\n\nno \xff UTF-8\nlast");
  for (const char* name : {"out.jsonl", "out.safetensors"}) {
    const Outcome done =
        run({"embed", "--model", model.path(), "--input", model / "texts", "--out", model / name});
    ASSERT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(done.out, "");
  }
  const std::vector<json> lines = lines_of(read(model / "out.jsonl"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["text"], "a b");
  EXPECT_EQ(lines[1]["text"], "");
  EXPECT_EQ(lines[2]["text"], "no \ufffd UTF-8");
  EXPECT_THAT(read(model / "out.safetensors"),
              HasSubstr(R"("vectors":{"dtype":"F32","shape":[4,12])"));
}

TEST(Embed, MistakesExitWith2) {
  const Model model("bert");
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{"--model", model.path()}, "give texts, or --input FILE"},
      {{"--model", model.path(), "a", "--input", model / "vocab.txt"}, "give texts, or --input"},
      {{"--model", model / "nowhere", "a"}, "config.json"},
      {{"--model", model.path(), "--input", model / "nowhere"}, "nowhere"},
      {{"--model", model.path(), "--max-tokens", "11", "a"}, "this model takes 3 to 10"},
      {{"--model", model.path(), "--pooling", "max", "a"}, "--pooling"},
      {{"--model", model.path(), "--dtype", "f64", "a"}, "--dtype"},
      {{"a"}, "--model is required"},
  };
  for (auto [arguments, message] : rows) {
    arguments.insert(arguments.begin(), "embed");
    const Outcome refused = run(arguments);
    EXPECT_EQ(refused.code, 2) << message;
    EXPECT_THAT(refused.err, HasSubstr(message));
    EXPECT_EQ(refused.out, "");
  }
  write(model / "empty", "");
  EXPECT_THAT(run({"embed", "--model", model.path(), "--input", model / "empty"}).err,
              HasSubstr("no line in it"));
}

TEST(Import, PutsPartsTogetherAndKeepsWhatStandsBeside) {
  const Model model("sharded");
  const Outcome done =
      run({"import", "--model", model.path(), "--out", model / "one", "--dtype", "f16"});
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("BERT: 2 layers of width 12, 3 heads, a vocabulary of 30"));
  EXPECT_EQ(read(model / "one/vocab.txt"), read(model / "vocab.txt"));
  EXPECT_THAT(read(model / "one/config.json"), HasSubstr("float16"));
  EXPECT_FALSE(fs::exists(model / "one/model.safetensors.index.json"));
  // Both give the same vectors: the parts are in f16.
  EXPECT_EQ(run({"embed", "--model", model.path(), "a b c"}).out,
            run({"embed", "--model", model / "one", "a b c"}).out);
}

TEST(Import, NamesWhatItLeavesOut) {
  const Model model("masked_language_model");
  const Outcome done = run({"import", "--model", model.path(), "--out", model / "one"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("left out: cls.predictions.bias, "));
}

TEST(Import, NothingIsWrittenOverOrInVain) {
  const Model model("bert");
  const Outcome over = run({"import", "--model", model.path(), "--out", model.path()});
  EXPECT_EQ(over.code, 2);
  EXPECT_THAT(over.err, HasSubstr("there is a config.json already"));
  write(model / "config.json", "{}");
  const Outcome bad = run({"import", "--model", model.path(), "--out", model / "one"});
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.err, HasSubstr("there is no model_type"));
  EXPECT_FALSE(fs::exists(model / "one"));
}

}  // namespace
}  // namespace mettle::command_test
