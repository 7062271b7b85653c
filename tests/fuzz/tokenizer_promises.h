// What every tokenizer promises of every text, whatever its bytes.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "models/tokenizer.h"
#include "models/tokenizer/unicode.h"

namespace mettle::fuzz {

inline void require(bool promise) {
  if (!promise) std::abort();
}

inline void check_encoding(const Tokenizer& tokenizer, const Encoding& encoding,
                           std::int64_t text_bytes) {
  require(encoding.ids.size() == encoding.type_ids.size());
  require(encoding.ids.size() == encoding.spans.size());
  for (const std::int32_t id : encoding.ids) require(id >= 0 && id < tokenizer.size());
  for (const TextSpan& span : encoding.spans)
    require(span.begin >= 0 && span.begin <= span.end && span.end <= text_bytes);
  tokenizer.decode(encoding.ids);
  tokenizer.decode(encoding.ids, false);
}

/// The text as decode_utf8() reads it.
inline std::string as_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const detail::Decoded decoded = detail::decode_utf8(text);
    detail::append_utf8(out, decoded.c);
    text.remove_prefix(decoded.bytes);
  }
  return out;
}

/// A cut text keeps the beginning; broken text counts as its repaired form.
inline void check_text(const Tokenizer& tokenizer, std::string_view text) {
  const EncodeOptions bare{.max_length = EncodeOptions::kNoLimit, .special_tokens = false};
  const Encoding whole = tokenizer.encode(text, bare);
  check_encoding(tokenizer, whole, std::ssize(text));
  const std::string repaired = as_utf8(text);
  require(tokenizer.encode(repaired, bare).ids == whole.ids);
  require((detail::find_invalid_utf8(text) == std::string_view::npos) == (repaired == text));
  for (const std::int64_t length : {std::int64_t{0}, std::ssize(whole.ids) / 2}) {
    const Encoding cut = tokenizer.encode(text, {.max_length = length, .special_tokens = false});
    require(std::ssize(cut.ids) == length);
    for (std::size_t i = 0; i < cut.ids.size(); ++i)
      require(cut.ids[i] == whole.ids[i] && cut.spans[i] == whole.spans[i]);
  }
}

/// The longer one is cut, and never by more than it takes.
inline void check_pair(const Tokenizer& tokenizer, const TextPair& pair, std::int64_t length) {
  const EncodeOptions bare{.max_length = EncodeOptions::kNoLimit, .special_tokens = false};
  const std::int64_t n = std::ssize(tokenizer.encode(pair.first, bare).ids);
  const std::int64_t m = std::ssize(tokenizer.encode(pair.second, bare).ids);
  const Encoding both = tokenizer.encode(pair, {.max_length = length, .special_tokens = false});
  check_encoding(tokenizer, both, std::max(std::ssize(pair.first), std::ssize(pair.second)));
  require(std::ssize(both.ids) == std::min(length, n + m));
}

}  // namespace mettle::fuzz
