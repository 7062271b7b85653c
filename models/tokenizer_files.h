// Tokenizers from files: `tokenizer.json` and `vocab.txt` as Hugging Face's models have them. What
// is not built is refused by its name; nothing is half loaded.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "models/tokenizer.h"

namespace mettle {

/// What a vocabulary alone does not say.
struct VocabOptions {
  bool lowercase = true;                   // false for cased models
  std::optional<bool> strip_accents = {};  // default: as lowercase
  bool clean_text = true;
  bool handle_chinese_chars = true;
};

/// FileError, begun by the path and the key, for a file that cannot be read, is damaged or asks for
/// what is not built (docs/tokenizer.md lists what is).
Tokenizer load_tokenizer_json(const std::filesystem::path& file);
/// A line for each token, in the order of ids, with BERT's [UNK], [CLS], [SEP] and [PAD] among
/// them. FileError, begun by the path and the line.
Tokenizer load_vocab(const std::filesystem::path& file, const VocabOptions& options = {});

/// The same from the bytes of a file. `name` begins the error messages.
TokenizerSettings parse_tokenizer_json(std::string_view text, const std::string& name);
TokenizerSettings parse_vocab(std::string_view text, const VocabOptions& options,
                              const std::string& name);

namespace detail {
constexpr std::size_t kMaxTokenizerFile = std::size_t{1} << 26;  // bytes
constexpr std::size_t kMaxTokens = std::size_t{1} << 22;
constexpr std::size_t kMaxTokenText = std::size_t{1} << 24;  // bytes of all tokens together
/// [CLS] text [SEP], and [CLS] first [SEP] second [SEP] with the type id 1 from the second on.
void use_bert_template(TokenizerSettings& settings, std::int32_t classify, std::int32_t separate);
}  // namespace detail

}  // namespace mettle
