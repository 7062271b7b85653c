// What a tokenizer is made of, as its files say it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mettle {

/// Bytes [begin, end) of a text.
struct TextSpan {
  std::int64_t begin = 0, end = 0;
  bool operator==(const TextSpan&) const = default;
};

/// What happens to a text before it is cut into words, in this order.
struct TextNormalization {
  bool clean_text = true;            // control characters go, every white space is a blank
  bool handle_chinese_chars = true;  // each ideograph is a word
  bool strip_accents = true;         // canonical decomposition without its marks
  bool lowercase = true;
};

/// A token that is found in the text before anything else happens to it, as [MASK] is.
struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool special = false;  // decode() can leave it out
  bool lstrip = false;   // takes the white space before it
  bool rstrip = false;
};

/// One part of what is put together around one text or two.
struct TemplatePart {
  enum class Kind { special, first, second };
  Kind kind = Kind::special;
  std::vector<std::int32_t> ids = {};  // of Kind::special
  std::int32_t type_id = 0;
};

struct TokenPadding {
  std::int64_t length = 0;    // at least; 0: of the longest of a batch
  std::int64_t multiple = 1;  // rounded up to
  std::int32_t id = 0;
  std::int32_t type_id = 0;
};

/// As read from a file. Tokenizer's constructor checks that the parts fit together.
struct TokenizerSettings {
  std::vector<std::string> tokens;  // by id
  std::vector<AddedToken> added;    // in `tokens` too
  TextNormalization normalization;
  std::string unknown = "[UNK]";
  std::string continuing_prefix = "##";
  std::int64_t max_word_chars = 100;  // a longer word is unknown
  std::vector<TemplatePart> single, pair;
  std::optional<std::int64_t> max_length;  // of encode(), unless it is told otherwise
  TokenPadding padding;
  /// How decode() joins tokens: without prefix and, as `cleanup`, without the blanks before signs
  /// and short forms of English; or all of them with blanks.
  bool decode_words = true;
  bool decode_cleanup = true;
  std::string decode_prefix = "##";
};

}  // namespace mettle
