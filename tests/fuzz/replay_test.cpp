// Runs a fuzz target over its committed seeds, and over every seed cut short at each byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

TEST(FuzzReplay, SeedsAndTheirPrefixes) {
  int seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(METTLE_CORPUS)) {
    SCOPED_TRACE(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    ASSERT_FALSE(bytes.empty());
    const std::size_t step = std::max<std::size_t>(1, bytes.size() / 1000);
    for (std::size_t size = 0; size < bytes.size(); size += step)
      EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), size),
                0);
    EXPECT_EQ(
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()),
        0);
    ++seeds;
  }
  EXPECT_GT(seeds, 0);
}

}  // namespace
