// Runs the built program as a user would, and makes small data for it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace mettle::command_test {

struct Outcome {
  int code = -1;  // exit code; 128 + N when signal N ended it
  std::string out;
  std::string err;
};

struct Run {
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // added to the test's own
  /// SIGINT is sent as soon as this file exists and is not empty.
  std::filesystem::path interrupt_when;
  /// Takes the standard output instead of Outcome::out.
  std::filesystem::path output = {};
  /// So many times, 1 or 2, SIGINT is sent as soon as the program catches it; until then it waits
  /// where it first writes to the standard error stream, if it comes so far.
  int early_interrupts = 0;
};

/// Runs `mettle` and waits for its end.
Outcome run(const Run& what);
inline Outcome run(std::vector<std::string> arguments) {
  return run(Run{std::move(arguments), {}, {}});
}

/// A folder of its own that is removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string read(const std::filesystem::path& path);
void write(const std::filesystem::path& path, const std::string& text);

/// A MovieLens folder of 40 movies in three genres and 60 users with tastes, 20 to 29 ratings each.
void write_tiny_movielens(const std::filesystem::path& folder);

}  // namespace mettle::command_test
