// The vocabulary in the emulation, word by word, against plain host computations and against what a
// GPU gave.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "kernels/emulation/machine.h"
#include "kernels/emulation/report.h"
#include "tests/conformance/conformance.h"

namespace mettle::conformance {
namespace {

const std::filesystem::path golden_file = METTLE_SOURCE_DIR "/tests/conformance/golden_sm90.txt";

class EmulatedDevice : public Device {
 public:
  Stream stream() override { return machine_.stream(); }
  void* allocate(std::size_t bytes) override { return machine_.allocate_bytes(bytes); }
  void upload(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }

 private:
  emulation::Machine machine_{{.seed = 11}};
};

Bits run(const Word& word) {
  EmulatedDevice device;
  try {
    return word.run(device, word.number);
  } catch (const emulation::EmulationError& error) {
    ADD_FAILURE() << word.name << ": " << error.what();
    return {};
  }
}

TEST(Conformance, WordsDoWhatTheyAreDescribedToDo) {
  for (const Word& word : words())
    EXPECT_EQ(difference(word, run(word), word.expect(word.number)), "") << word.name;
}

TEST(Conformance, WordsDoWhatTheGpuDoes) {
  std::ifstream in(golden_file);
  if (!in) GTEST_SKIP() << "no golden data of a GPU yet: " << golden_file.filename();
  const std::vector<Record> records = read_records(in);
  for (const Word& word : words()) {
    const auto record = std::ranges::find(records, word.name, &Record::name);
    if (record == records.end())
      ADD_FAILURE() << word.name << " is not in " << golden_file.filename();
    else
      EXPECT_EQ(difference(word, run(word), *record), "") << word.name;
  }
}

TEST(Conformance, NamesAreUniqueAndOneWord) {
  std::set<std::string> names;
  for (const Word& word : words()) {
    EXPECT_TRUE(names.insert(word.name).second) << word.name;
    EXPECT_EQ(word.name.find(' '), std::string::npos) << word.name;
  }
  EXPECT_GT(names.size(), 100u);
}

// Every single result counts.
TEST(Conformance, DifferencesAreFound) {
  for (const Word& word : words()) {
    const Bits good = word.expect(word.number);
    ASSERT_FALSE(good.empty()) << word.name;
    std::stringstream text;
    write(text, record_of(word, good));
    const std::vector<Record> read = read_records(text);
    ASSERT_EQ(read.size(), 1u);
    EXPECT_EQ(read[0].name, word.name);
    EXPECT_EQ(difference(word, good, read[0]), "") << word.name;
    for (const std::size_t i : {std::size_t{1}, good.size() - 1}) {
      Bits bad = good;
      bad[std::min(i, good.size() - 1)] ^= word.kind == Kind::bits ? 1u : 0xc0000000u;
      EXPECT_NE(difference(word, bad, good), "") << word.name;
      EXPECT_NE(difference(word, bad, read[0]), "") << word.name;
    }
  }
}

}  // namespace
}  // namespace mettle::conformance
