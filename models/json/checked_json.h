// JSON from outside: a bounded tree without repeated keys, and a look at its objects by the kinds
// that are wanted. Only its users need nlohmann-json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mettle::detail {

struct JsonLimits {
  std::size_t bytes = std::size_t{1} << 24;
  std::size_t values = std::size_t{1} << 17;
  std::size_t depth = 12;
};

/// FileError, begun by `name`, for text that is not JSON, a key twice in one object, and more than
/// the limits.
nlohmann::json parse_json(std::string_view text, const std::string& name,
                          const JsonLimits& limits = {});

/// A value as a message shows it: printable, not longer than a line.
std::string shown(const nlohmann::json& value);

/// An object of a tree, which outlives it. Every getter throws FileError, naming the file, the
/// member's path, what it is and what is supported.
class JsonSection {
 public:
  /// FileError unless `value` is an object. `path` as in "model" or "added_tokens[3]"; empty for
  /// the whole file.
  JsonSection(const nlohmann::json& value, std::string path, std::string name);

  bool has(std::string_view key) const;  // and is not null
  std::string text(std::string_view key) const;
  bool flag(std::string_view key) const;
  double number(std::string_view key, double low, double high) const;
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  const nlohmann::json& list(std::string_view key) const;
  JsonSection section(std::string_view key) const;
  /// Refuses every member but these.
  void allow_only(std::initializer_list<std::string_view> keys) const;
  /// Refuses any value but `only`.
  void expect(std::string_view key, const nlohmann::json& only) const;
  [[noreturn]] void refuse(std::string_view key, std::string_view supported) const;

  const nlohmann::json& value() const { return *value_; }
  std::string path_of(std::string_view key) const;
  const std::string& name() const { return name_; }

 private:
  const nlohmann::json& member(std::string_view key) const;

  const nlohmann::json* value_;
  std::string path_;
  std::string name_;
};

}  // namespace mettle::detail
