// A tokenizer's JSON as a small tree and, apart from it, the one long list: the vocabulary. Depth,
// number of values and repeated keys are refused while the text is read.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mettle::detail {

struct TokenizerJson {
  nlohmann::json tree;  // without model.vocab
  bool has_vocab = false;
  std::vector<std::pair<std::string, std::int64_t>> vocab;  // as it stands there
};

/// FileError, begun by `name`.
TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name);

/// An object of the tree. Reads its members by the kind that is wanted and refuses all others.
class Section {
 public:
  /// FileError unless `value` is an object. `path` as in "model" or "added_tokens[3]".
  Section(const nlohmann::json& value, std::string path, const std::string& name);

  /// Refuses members other than these.
  void allow_only(std::initializer_list<std::string_view> keys) const;
  bool has(std::string_view key) const;  // and is not null
  std::string text(std::string_view key) const;
  bool flag(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  const nlohmann::json& list(std::string_view key) const;
  Section section(std::string_view key) const;
  /// Refuses a text, number or flag other than `only`.
  void expect(std::string_view key, const nlohmann::json& only) const;
  /// Refuses the member's value, naming what is supported.
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
