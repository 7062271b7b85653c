// A tokenizer's JSON as a small tree and, apart from it, the one long list: the vocabulary.
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

/// FileError, begun by `name`, as parse_json() and for tokens that are too many or have no id.
TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name);

}  // namespace mettle::detail
