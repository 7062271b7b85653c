// The tokenizer of BERT: text to ids of word pieces and back, with the ids that the Rust library
// `tokenizers` gives for the same files. See docs/tokenizer.md.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"
#include "models/tokenizer_settings.h"

namespace mettle {

/// A text, or a pair of them, as tokens.
struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;  // 0 and 1 for the first and the second text, as trained
  std::vector<TextSpan> spans;         // bytes in the token's own text; {0, 0} of what was added
};

/// Encodings of one length B x N, as models take them.
struct TokenBatch {
  Tensor ids;       // i64 (B, N)
  Tensor type_ids;  // i64 (B, N)
  Tensor mask;      // u8 (B, N): 1 marks a token, 0 padding
  std::vector<std::int64_t> lengths;
};

enum class InvalidUtf8 { replace, reject };

struct EncodeOptions {
  static constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
  /// Tokens at most, those of the template included; the longer text of a pair loses its end first.
  /// Default: the limit in the tokenizer's file, or none.
  std::optional<std::int64_t> max_length = {};
  bool special_tokens = true;  // [CLS] and [SEP], or whatever the template adds
  /// What is not UTF-8 counts as U+FFFD (which BERT's cleaning removes), or is refused.
  InvalidUtf8 invalid_utf8 = InvalidUtf8::replace;
};

struct TextPair {
  std::string_view first, second;
};

/// A value that never changes: copies share everything, and any number of threads may use them.
class Tokenizer {
 public:
  /// ValueError for settings that do not fit together: a token twice, ids that are no token, a
  /// template without its text.
  explicit Tokenizer(TokenizerSettings settings);

  /// ValueError for a max_length below what the template adds, and for text that is not UTF-8 when
  /// it is to be rejected. Time and memory go with what is read: a text is not read further than
  /// max_length needs.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode(const TextPair& pair, const EncodeOptions& options = {}) const;
  /// The same for each, on the thread pool.
  std::vector<Encoding> encode_batch(std::span<const std::string_view> texts,
                                     const EncodeOptions& options = {}) const;
  std::vector<Encoding> encode_batch(std::span<const TextPair> pairs,
                                     const EncodeOptions& options = {}) const;
  /// Encodings side by side, filled up at their ends as the file says: to the longest, or more.
  TokenBatch pad(std::span<const Encoding> encodings) const;

  /// Text that reads like what was encoded. ValueError for an id that is no token.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  /// Number of tokens; ids are below it.
  std::int32_t size() const;
  std::optional<std::int32_t> id_of(std::string_view token) const;
  /// ValueError for an id that is no token.
  const std::string& token(std::int32_t id) const;
  /// The limit of encode() when it is told none.
  std::optional<std::int64_t> max_length() const;

 private:
  struct Parts;
  std::shared_ptr<const Parts> parts_;
};

}  // namespace mettle
