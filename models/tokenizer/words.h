// Text to words, one at a time and in one pass: what BertNormalizer and BertPreTokenizer of the
// reference do in seven passes over a whole text. Memory is bounded by the longest word that
// counts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/unicode.h"
#include "models/tokenizer_settings.h"

namespace mettle::detail {

/// What is the same for all texts.
class WordRules {
 public:
  WordRules(const TextNormalization& normalization, std::vector<AddedToken> added,
            std::size_t max_chars);

  const TextNormalization& normalization() const { return normalization_; }
  /// Characters of a word that are kept; see WordReader::too_long().
  std::size_t max_chars() const { return max_chars_; }

  static constexpr unsigned char kSlow = 0, kBlank = 1, kSign = 2;
  /// Of a byte: kBlank, kSign (a word of its own), what becomes of a letter or digit (above kSign),
  /// or kSlow for all that takes a closer look.
  unsigned char byte_action(char byte) const { return actions_[static_cast<unsigned char>(byte)]; }
  /// The longest added token that stands at the start of the text; nullptr: none.
  const AddedToken* added_at(std::string_view text) const;

 private:
  TextNormalization normalization_;
  std::vector<AddedToken> added_;  // longest first
  std::size_t max_chars_;
  std::array<unsigned char, 256> actions_{};
  std::array<bool, 256> begins_added_{};
};

class WordReader {
 public:
  /// `rules` and `text` have to outlive the reader.
  WordReader(const WordRules& rules, std::string_view text);

  /// Goes to the next word; false: there is none. What follows tells about that word.
  bool next();

  /// As it is looked up, without what is behind the limit.
  std::string_view text() const { return word_; }
  bool too_long() const { return chars_ > rules_->max_chars(); }
  /// The added token that stands there instead of a word, else nullptr.
  const AddedToken* added() const { return added_; }
  /// Where bytes [begin, end) of text() stand in the original.
  TextSpan span(std::size_t begin, std::size_t end) const;
  /// Where the whole word stands.
  TextSpan span() const { return whole_; }

 private:
  enum class Step { go_on, finished };
  void clear();
  void read_plain();
  Step read_character();
  Step read_kept(char32_t c, std::uint8_t classes, TextSpan place);
  Step end_word();
  Step read_alone(char32_t c, std::uint8_t classes, TextSpan place);
  void read_added(const AddedToken& token);
  void append(char32_t c, TextSpan place);
  void append_lowered(char32_t c, std::uint8_t classes, TextSpan place);
  std::size_t place_in_run(char32_t c) const;
  void note_places();

  const WordRules* rules_;
  std::string_view source_;
  std::size_t at_ = 0;         // of the next byte to read
  std::size_t added_end_ = 0;  // of the last added token
  std::string word_;
  std::size_t chars_ = 0;
  std::size_t run_begin_ = 0;  // in word_, of the nonstarters at its end
  // Whether bytes of word_ stand side by side in the original from whole_.begin on; where not,
  // places_ tells of each byte the place of its character.
  bool contiguous_ = true;
  std::vector<TextSpan> places_;
  TextSpan whole_;
  const AddedToken* added_ = nullptr;
};

}  // namespace mettle::detail
