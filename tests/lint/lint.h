// Rules of the house that a compiler does not check: who may include whom, what the library must
// never call, how a file begins and ends.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mettle::lint {

struct Violation {
  std::string file;  // relative to the repository
  int line;          // from 1
  std::string what;  // the rule, and what to do instead

  friend bool operator==(const Violation&, const Violation&) = default;
};

/// "engine/x.h:3: what".
std::string to_string(const Violation& violation);

/// Checks one file; `path` is relative to the repository and decides which rules apply.
std::vector<Violation> check_file(std::string_view path, std::string_view text);

/// Checks the C++ of a page: every paragraph of its ```cpp blocks, lines without their indentation,
/// must stand in `source`, programs that the tests run.
std::vector<Violation> check_snippets(std::string_view page, std::string_view text,
                                      std::string_view source);

/// Checks every file of the repository that has rules. Build folders are not entered.
std::vector<Violation> check_tree(const std::filesystem::path& root, int* files_checked);

}  // namespace mettle::lint
