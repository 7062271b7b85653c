// tokenizer.json, section by section: each one becomes a part of the settings or is refused.
#include <algorithm>

#include "engine/check.h"
#include "engine/file.h"
#include "models/json/checked_json.h"
#include "models/tokenizer/json_reader.h"
#include "models/tokenizer_files.h"

namespace mettle {
namespace {

using Section = detail::JsonSection;
using nlohmann::json;
using Kind = TemplatePart::Kind;

constexpr std::int64_t kMaxLength = std::int64_t{1} << 20;  // of truncation and padding
constexpr std::int64_t kMaxTypeId = 1024;
constexpr std::int64_t kMaxId = detail::kMaxTokens - 1;
constexpr std::int64_t kMaxWordChars = 1000;

std::int32_t id_at(const Section& section, std::string_view key) {
  return static_cast<std::int32_t>(section.integer(key, 0, kMaxId));
}

void read_model(const Section& model, TokenizerSettings& settings) {
  model.allow_only({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word"});
  if (model.has("type")) model.expect("type", "WordPiece");  // the oldest files have no type
  settings.unknown = model.text("unk_token");
  settings.continuing_prefix = model.text("continuing_subword_prefix");
  settings.max_word_chars = model.integer("max_input_chars_per_word", 1, kMaxWordChars);
}

void read_normalizer(const Section& normalizer, TokenizerSettings& settings) {
  normalizer.expect("type", "BertNormalizer");
  normalizer.allow_only(
      {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  TextNormalization& to = settings.normalization;
  to.clean_text = normalizer.flag("clean_text");
  to.handle_chinese_chars = normalizer.flag("handle_chinese_chars");
  to.lowercase = normalizer.flag("lowercase");
  to.strip_accents =
      normalizer.has("strip_accents") ? normalizer.flag("strip_accents") : to.lowercase;
}

// Tokens by id, from the vocabulary and the added tokens together.
class TokenList {
 public:
  explicit TokenList(const std::string& name) : name_(name) {}

  /// FileError when the id has a token already, unless it `may_be_known` as this one.
  void set(std::int64_t id, std::string token, bool may_be_known) {
    const auto at = static_cast<std::size_t>(id);
    METTLE_CHECK(FileError, !token.empty(), "{}: token {} is empty", name_, id);
    if (at >= tokens_.size()) tokens_.resize(at + 1);
    std::string& place = tokens_[at];
    METTLE_CHECK(FileError, place.empty() || (may_be_known && place == token),
                 "{}: id {} is both '{}' and '{}'", name_, id, place, token);
    place = std::move(token);
  }

  std::vector<std::string> take() {
    const auto hole = std::find(tokens_.begin(), tokens_.end(), "");
    METTLE_CHECK(FileError, hole == tokens_.end(),
                 "{}: no token has the id {}, though ids go up to {}", name_,
                 hole - tokens_.begin(), tokens_.size() - 1);
    return std::move(tokens_);
  }

 private:
  const std::string& name_;
  std::vector<std::string> tokens_;
};

AddedToken read_added_token(const Section& token) {
  token.allow_only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  token.expect("single_word", false);
  token.expect("normalized", false);
  return {.content = token.text("content"),
          .id = id_at(token, "id"),
          .special = token.flag("special"),
          .lstrip = token.flag("lstrip"),
          .rstrip = token.flag("rstrip")};
}

void read_added_tokens(const Section& file, TokenizerSettings& settings) {
  const json& list = file.list("added_tokens");
  for (std::size_t i = 0; i < list.size(); ++i)
    settings.added.push_back(
        read_added_token(Section(list[i], fmt::format("added_tokens[{}]", i), file.name())));
}

void read_truncation(const Section& truncation, TokenizerSettings& settings) {
  truncation.allow_only({"direction", "max_length", "strategy", "stride"});
  if (truncation.has("direction")) truncation.expect("direction", "Right");
  truncation.expect("strategy", "LongestFirst");
  truncation.expect("stride", 0);
  settings.max_length = truncation.integer("max_length", 1, kMaxLength);
}

void read_padding(const Section& padding, TokenizerSettings& settings) {
  padding.allow_only(
      {"strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"});
  padding.expect("direction", "Right");
  TokenPadding& to = settings.padding;
  if (padding.value().contains("strategy") && padding.value()["strategy"].is_object()) {
    const Section strategy = padding.section("strategy");
    strategy.allow_only({"Fixed"});
    to.length = strategy.integer("Fixed", 0, kMaxLength);
  } else {
    padding.expect("strategy", "BatchLongest");
  }
  if (padding.has("pad_to_multiple_of"))
    to.multiple = padding.integer("pad_to_multiple_of", 1, kMaxLength);
  to.id = id_at(padding, "pad_id");
  to.type_id = static_cast<std::int32_t>(padding.integer("pad_type_id", 0, kMaxTypeId));
  const std::string token = padding.text("pad_token");
  const auto id = static_cast<std::size_t>(to.id);
  if (id >= settings.tokens.size() || settings.tokens[id] != token)
    padding.refuse("pad_token", fmt::format("the token with the id {}", to.id));
}

bool is_token(const json& text, const json& id, const TokenizerSettings& settings) {
  return text.is_string() && id.is_number_unsigned() &&
         id.get<std::uint64_t>() < settings.tokens.size() &&
         text.get_ref<const std::string&>() == settings.tokens[id.get<std::size_t>()];
}

// The ids of a special token that a template names.
std::vector<std::int32_t> template_ids(const Section& special, const std::string& token,
                                       const TokenizerSettings& settings) {
  const Section entry = special.section(token);
  entry.allow_only({"id", "ids", "tokens"});
  entry.expect("id", token);
  const json &id_list = entry.list("ids"), &tokens = entry.list("tokens");
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < id_list.size(); ++i) {
    if (i >= tokens.size() || !is_token(tokens[i], id_list[i], settings))
      entry.refuse("ids", "the ids of its tokens");
    ids.push_back(id_list[i].get<std::int32_t>());
  }
  if (tokens.size() != ids.size()) entry.refuse("tokens", "the tokens of its ids");
  return ids;
}

std::vector<TemplatePart> read_template(const Section& processor, std::string_view key,
                                        const TokenizerSettings& settings) {
  const json& list = processor.list(key);
  std::vector<TemplatePart> parts;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Section item(list[i], fmt::format("{}[{}]", processor.path_of(key), i), processor.name());
    item.allow_only({"SpecialToken", "Sequence"});
    const bool is_text = item.has("Sequence");
    if (is_text && item.has("SpecialToken")) item.refuse("Sequence", "one of the two alone");
    const Section part = item.section(is_text ? "Sequence" : "SpecialToken");
    part.allow_only({"id", "type_id"});
    TemplatePart out;
    out.type_id = static_cast<std::int32_t>(part.integer("type_id", 0, kMaxTypeId));
    const std::string id = part.text("id");
    if (!is_text) {
      out.ids = template_ids(processor.section("special_tokens"), id, settings);
    } else {
      if (id != "A" && id != "B") part.refuse("id", "\"A\", \"B\"");
      out.kind = id == "A" ? Kind::first : Kind::second;
    }
    parts.push_back(std::move(out));
  }
  return parts;
}

// ["[CLS]", 101]
std::int32_t read_bert_token(const Section& processor, std::string_view key,
                             const TokenizerSettings& settings) {
  const json& pair = processor.list(key);
  if (pair.size() != 2 || !is_token(pair[0], pair[1], settings))
    processor.refuse(key, "a token and its id");
  return pair[1].get<std::int32_t>();
}

void read_post_processor(const Section& processor, TokenizerSettings& settings) {
  const std::string type = processor.text("type");
  if (type == "TemplateProcessing") {
    processor.allow_only({"type", "single", "pair", "special_tokens"});
    settings.single = read_template(processor, "single", settings);
    settings.pair = read_template(processor, "pair", settings);
  } else if (type == "BertProcessing") {
    processor.allow_only({"type", "sep", "cls"});
    const std::int32_t separate = read_bert_token(processor, "sep", settings);
    const std::int32_t classify = read_bert_token(processor, "cls", settings);
    detail::use_bert_template(settings, classify, separate);
  } else {
    processor.refuse("type", "\"TemplateProcessing\", \"BertProcessing\", or no post_processor");
  }
}

void read_decoder(const Section& decoder, TokenizerSettings& settings) {
  decoder.expect("type", "WordPiece");
  decoder.allow_only({"type", "prefix", "cleanup"});
  settings.decode_words = true;
  settings.decode_prefix = decoder.text("prefix");
  settings.decode_cleanup = decoder.flag("cleanup");
}

void read_tokens(detail::TokenizerJson& content, TokenizerSettings& settings,
                 const std::string& name) {
  METTLE_CHECK(FileError, content.has_vocab, "{}: there is no model.vocab, an object", name);
  TokenList list(name);
  for (auto& [token, id] : content.vocab) list.set(id, std::move(token), false);
  for (const AddedToken& token : settings.added) list.set(token.id, token.content, true);
  settings.tokens = list.take();
}

}  // namespace

TokenizerSettings parse_tokenizer_json(std::string_view text, const std::string& name) {
  detail::TokenizerJson content = detail::read_tokenizer_json(text, name);
  const Section file(content.tree, "", name);
  file.allow_only({"version", "truncation", "padding", "added_tokens", "normalizer",
                   "pre_tokenizer", "post_processor", "decoder", "model"});
  if (file.has("version")) file.expect("version", "1.0");
  TokenizerSettings settings;
  read_model(file.section("model"), settings);
  read_normalizer(file.section("normalizer"), settings);
  const Section splitter = file.section("pre_tokenizer");
  splitter.expect("type", "BertPreTokenizer");
  splitter.allow_only({"type"});
  if (file.has("added_tokens")) read_added_tokens(file, settings);
  read_tokens(content, settings, name);
  settings.single = {{.kind = Kind::first}};
  settings.pair = {{.kind = Kind::first}, {.kind = Kind::second, .type_id = 1}};
  if (file.has("post_processor")) read_post_processor(file.section("post_processor"), settings);
  if (file.has("truncation")) read_truncation(file.section("truncation"), settings);
  if (file.has("padding")) read_padding(file.section("padding"), settings);
  settings.decode_words = false;
  if (file.has("decoder")) read_decoder(file.section("decoder"), settings);
  return settings;
}

Tokenizer load_tokenizer_json(const std::filesystem::path& file) {
  const std::string name = file.string();
  TokenizerSettings settings =
      parse_tokenizer_json(read_file(file, detail::kMaxTokenizerFile), name);
  try {
    return Tokenizer(std::move(settings));
  } catch (const ValueError& error) {
    fail<FileError>("{}: {}", name, error.message());
  }
}

}  // namespace mettle
