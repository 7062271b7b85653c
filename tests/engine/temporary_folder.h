// A folder of its own for each test that touches files.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

namespace mettle::test {

class TemporaryFolder : public testing::Test {
 protected:
  TemporaryFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("mettle_") + test->test_suite_name() + "_" + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~TemporaryFolder() override { std::filesystem::remove_all(folder_); }

  /// Names of all entries, the temporaries of unfinished writes included, one blank apart.
  std::string listing() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.insert(entry.path().filename().string());
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
    return out;
  }

  std::filesystem::path folder_;
};

}  // namespace mettle::test
