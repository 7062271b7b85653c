// vocab.txt: a token on each line, and BERT's customs for all that the file does not say.
#include <algorithm>
#include <unordered_map>

#include "engine/check.h"
#include "engine/file.h"
#include "models/tokenizer/unicode.h"
#include "models/tokenizer_files.h"

namespace mettle {
namespace {

constexpr std::string_view kClassify = "[CLS]", kSeparate = "[SEP]", kPad = "[PAD]";

// Without the white space at its end, as the reference reads it.
std::string_view trimmed(std::string_view line) {
  while (!line.empty()) {
    std::size_t last = line.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(line[last]) & 0xc0) == 0x80) --last;
    if ((detail::char_class(detail::decode_utf8(line.substr(last)).c) & detail::kSpace) == 0) break;
    line = line.substr(0, last);
  }
  return line;
}

class VocabReader {
 public:
  explicit VocabReader(const std::string& name) : name_(name) {}

  void read(std::string_view text) {
    METTLE_CHECK(FileError, text.size() <= detail::kMaxTokenText, "{}: {} bytes, at most {}", name_,
                 text.size(), detail::kMaxTokenText);
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      add(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  std::int32_t id_of(std::string_view token) const {
    const auto found = ids_.find(std::string(token));
    METTLE_CHECK(FileError, found != ids_.end(), "{}: there is no {} among its {} tokens", name_,
                 token, tokens_.size());
    return found->second;
  }
  bool contains(std::string_view token) const { return ids_.contains(std::string(token)); }
  std::vector<std::string> take() { return std::move(tokens_); }

 private:
  void add(std::string_view line) {
    const std::size_t number = tokens_.size() + 1;
    const std::size_t invalid = detail::find_invalid_utf8(line);
    METTLE_CHECK(FileError, invalid == std::string_view::npos,
                 "{}: line {} is not UTF-8 at its byte {}", name_, number, invalid);
    const std::string token(trimmed(line));
    METTLE_CHECK(FileError, !token.empty(), "{}: line {} is empty", name_, number);
    METTLE_CHECK(FileError, number <= detail::kMaxTokens, "{}: more than {} tokens", name_,
                 detail::kMaxTokens);
    const auto [at, is_new] = ids_.try_emplace(token, static_cast<std::int32_t>(tokens_.size()));
    METTLE_CHECK(FileError, is_new, "{}: line {} is the token of line {} again: '{}'", name_,
                 number, at->second + 1, token.substr(0, 64));
    tokens_.push_back(token);
  }

  const std::string& name_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
};

}  // namespace

void detail::use_bert_template(TokenizerSettings& settings, std::int32_t classify,
                               std::int32_t separate) {
  settings.single = {{.ids = {classify}}, {.kind = TemplatePart::Kind::first}, {.ids = {separate}}};
  settings.pair = settings.single;
  settings.pair.push_back({.kind = TemplatePart::Kind::second, .type_id = 1});
  settings.pair.push_back({.ids = {separate}, .type_id = 1});
}

TokenizerSettings parse_vocab(std::string_view text, const VocabOptions& options,
                              const std::string& name) {
  VocabReader reader(name);
  reader.read(text);
  TokenizerSettings settings;
  settings.normalization = {.clean_text = options.clean_text,
                            .handle_chinese_chars = options.handle_chinese_chars,
                            .strip_accents = options.strip_accents.value_or(options.lowercase),
                            .lowercase = options.lowercase};
  const std::int32_t classify = reader.id_of(kClassify), separate = reader.id_of(kSeparate);
  for (const std::string_view token :
       {std::string_view(settings.unknown), kClassify, kSeparate, kPad, std::string_view("[MASK]")})
    if (token != "[MASK]" || reader.contains(token))
      settings.added.push_back({std::string(token), reader.id_of(token), true});
  detail::use_bert_template(settings, classify, separate);
  settings.padding.id = reader.id_of(kPad);
  settings.tokens = reader.take();
  return settings;
}

Tokenizer load_vocab(const std::filesystem::path& file, const VocabOptions& options) {
  return Tokenizer(parse_vocab(read_file(file, detail::kMaxTokenizerFile), options, file.string()));
}

}  // namespace mettle
