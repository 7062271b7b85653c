// JSON from outside: a bounded tree without repeated keys, and a look at its objects by the kinds
// that are wanted. Only its users need nlohmann-json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// Builds the tree of parse_json() from the events of a text. Who wants a part of a text in another
/// form derives from it and takes the events of that part.
class JsonTreeReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  /// The limits apply to what becomes part of the tree.
  JsonTreeReader(std::string name, const JsonLimits& limits);

  /// Call once. FileError as parse_json().
  nlohmann::json read(std::string_view text);

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { refuse("binary data"); }
  bool key(string_t& key) override;
  bool start_object(std::size_t) override { return open(nlohmann::json::object()); }
  bool start_array(std::size_t) override { return open(nlohmann::json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override;

 protected:
  /// A value that is neither object nor list.
  virtual bool add(nlohmann::json value);

  [[noreturn]] void refuse(std::string_view what) const;
  const std::string& name() const { return name_; }
  /// The keys that lead to the next value; "" for an element of a list.
  const std::vector<std::string>& path() const { return path_; }

 private:
  nlohmann::json& place(nlohmann::json value);
  bool open(nlohmann::json value);
  bool close();

  std::string name_;
  JsonLimits limits_;
  nlohmann::json tree_;
  // The containers around the next value. Their addresses hold: a list grows only while none of its
  // elements is open.
  std::vector<nlohmann::json*> open_;
  std::vector<std::string> path_;  // one for each of them
  std::size_t values_ = 0;
};

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
