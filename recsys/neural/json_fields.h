// Fields of a JSON object of unknown origin, each asked for by name, type and range. Meant for
// source files alone: it includes the JSON library.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

namespace mettle {

/// Parses text of at most `max_bytes` bytes. FileError, begun by `what`, when it is longer or not
/// JSON.
nlohmann::json parse_json(std::string_view text, std::size_t max_bytes, std::string_view what);

/// A value as a message shows it: short, and never as deep as it may be.
std::string shown(const nlohmann::json& value);

/// Each reader throws FileError "PATH.KEY is VALUE, expected ..." or "PATH.KEY is missing".
class JsonFields {
 public:
  /// FileError unless `object` is one. It must outlive the reader.
  JsonFields(const nlohmann::json& object, std::string path);

  int whole(const char* key, int low, int high);
  std::uint64_t seed(const char* key);
  /// Finite, from `low` to `high`.
  double number(const char* key, double low, double high);
  bool flag(const char* key);
  std::string text(const char* key);
  JsonFields object(const char* key);

  /// FileError when there is a field that none of the above has asked for.
  void refuse_others() const;

 private:
  const nlohmann::json& at(const char* key);
  std::string name(const char* key) const { return path_ + key; }

  const nlohmann::json& object_;
  std::string path_;  // "" or "model."
  std::set<std::string, std::less<>> asked_;
};

}  // namespace mettle
