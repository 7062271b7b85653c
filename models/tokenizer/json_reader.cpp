// The vocabulary is taken out of the stream of events; all else becomes the tree.
#include "models/tokenizer/json_reader.h"

#include <fmt/format.h>

#include "engine/check.h"
#include "models/json/checked_json.h"
#include "models/tokenizer_files.h"

namespace mettle::detail {
namespace {

using nlohmann::json;

class VocabularyReader final : public JsonTreeReader {
 public:
  VocabularyReader(const std::string& name, TokenizerJson& out)
      : JsonTreeReader(name, {.bytes = kMaxTokenizerFile}), out_(out) {}

  bool key(string_t& key) override {
    if (!in_vocab_) return JsonTreeReader::key(key);
    METTLE_CHECK(FileError, out_.vocab.size() < kMaxTokens, "{}: more than {} tokens", name(),
                 kMaxTokens);
    token_bytes_ += key.size();
    METTLE_CHECK(FileError, token_bytes_ <= kMaxTokenText, "{}: the tokens have more than {} bytes",
                 name(), kMaxTokenText);
    out_.vocab.emplace_back(std::move(key), -1);
    return true;
  }
  bool start_object(std::size_t size) override {
    if (in_vocab_) refuse("model.vocab holds an object");
    if (path().size() != 2 || path()[0] != "model" || path()[1] != "vocab")
      return JsonTreeReader::start_object(size);
    if (out_.has_vocab) refuse("\"vocab\" occurs twice");
    in_vocab_ = out_.has_vocab = true;
    return true;
  }
  bool end_object() override {
    if (!in_vocab_) return JsonTreeReader::end_object();
    in_vocab_ = false;
    return true;
  }
  bool start_array(std::size_t size) override {
    if (in_vocab_) refuse("model.vocab holds a list");
    return JsonTreeReader::start_array(size);
  }

 private:
  bool add(json value) override {
    if (!in_vocab_) return JsonTreeReader::add(std::move(value));
    const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() < kMaxTokens;
    if (!fits)
      refuse(fmt::format("model.vocab: the id of {} is {}, supported: integers from 0 to {}",
                         shown(out_.vocab.back().first), shown(value), kMaxTokens - 1));
    out_.vocab.back().second = value.get<std::int64_t>();
    return true;
  }

  TokenizerJson& out_;
  bool in_vocab_ = false;
  std::size_t token_bytes_ = 0;
};

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name) {
  TokenizerJson out;
  out.tree = VocabularyReader(name, out).read(text);
  return out;
}

}  // namespace mettle::detail
