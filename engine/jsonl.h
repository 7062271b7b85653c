// Records of a run as lines of JSON, one object a line, in a file that is only ever appended to:
// readable while the run goes on, complete lines whatever ends it, no step twice after a resume.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/file.h"

namespace mettle {

/// A number that is not finite becomes null.
using JsonValue = std::variant<bool, std::int64_t, double, std::string>;
/// Fields in the order in which they are to stand.
using JsonRecord = std::vector<std::pair<std::string, JsonValue>>;

/// How many bytes of a file's text stand before the records of `first_step` and later ones and
/// before a last line without an end: what a run that goes on with `first_step` keeps. FileError,
/// begun by `name` and the line, for a line before them that is no record.
std::size_t bytes_before_step(std::string_view text, std::int64_t first_step,
                              std::string_view name);

class JsonlWriter {
 public:
  /// Opens or makes the file for a run that goes on with `first_step`: records of that step and
  /// later ones, which the run will write again, are cut off, and so is a last line without an end.
  /// FileError when the file cannot be opened or one of its lines is no record of this kind (it is
  /// left alone then).
  explicit JsonlWriter(const std::filesystem::path& path, std::int64_t first_step = 0);

  /// Appends {"step":STEP,FIELDS...} as one line, which other processes see at once. ValueError
  /// for a step below the last one (several records may have the same) and a field called "step".
  /// FileError when it cannot be written; no part of the line stays then.
  void write(std::int64_t step, const JsonRecord& fields);

 private:
  void resume(std::int64_t first_step);

  std::string name_;
  FileDescriptor file_;
  std::int64_t last_step_;
};

}  // namespace mettle
