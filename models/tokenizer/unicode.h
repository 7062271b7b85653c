// What the tokenizer asks about one character: its classes, its base letters, its lower case. The
// answers are those of the reference implementation (see scripts/unicode_tables.py), whichever
// release of Unicode the machine has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mettle::detail {

constexpr char32_t kReplacement = 0xfffd;
constexpr char32_t kLastCodePoint = 0x10ffff;

/// Bits of char_class().
constexpr std::uint8_t kSpace = 1;
constexpr std::uint8_t kControl = 2;      // cleaning removes it; some of them are also kSpace
constexpr std::uint8_t kChinese = 4;      // a word of its own
constexpr std::uint8_t kPunctuation = 8;  // a word of its own
constexpr std::uint8_t kMark = 16;        // stripping accents removes it
constexpr std::uint8_t kNonstarter = 32;  // takes part in canonical order
constexpr std::uint8_t kFolds = 64;       // has a canonical decomposition
constexpr std::uint8_t kLowers = 128;     // lower case differs

struct CharRange {
  char32_t first, last;
};
struct CombiningRange {
  char32_t first, last;
  std::uint8_t value;
};
/// What stripping accents leaves of a character that decomposes; zeros fill the rest. With a
/// constructor, so that the rows of the table need no inner braces.
struct Fold {
  constexpr explicit(false) Fold(char32_t character, char32_t a = 0, char32_t b = 0, char32_t c = 0)
      : from(character), to{a, b, c} {}

  char32_t from;
  char32_t to[3];
};
/// Every `step`-th character from `first` to `last` has its lower case as far behind `to`.
struct LowerRange {
  char32_t first, last;
  std::uint32_t step;
  char32_t to;
};

/// All of them sorted.
struct UnicodeTables {
  std::span<const CharRange> space, control, chinese, punctuation, mark, nonstarter;
  std::span<const CombiningRange> combining;
  std::span<const Fold> folds;
  std::span<const LowerRange> lowers;
};
const UnicodeTables& unicode_tables();

/// The bits above, for any c up to kLastCodePoint.
std::uint8_t char_class(char32_t c);
/// The canonical combining class of a kNonstarter that is no kMark.
std::uint8_t combining_class(char32_t c);
/// Lower case, one character for one: of U+0130 only its first, 'i'.
char32_t lower(char32_t c);

/// The canonical decomposition of a kFolds character without its marks.
class Folded {
 public:
  explicit Folded(char32_t c);
  const char32_t* begin() const { return letters_; }
  const char32_t* end() const { return letters_ + size_; }

 private:
  char32_t letters_[3] = {};
  std::size_t size_ = 0;
};

struct Decoded {
  char32_t c;
  std::size_t bytes;
  bool valid = true;
};
/// The character at the start of a text that is not empty. What is not UTF-8 counts as U+FFFD, one
/// for each maximal part of a character (as WHATWG's Encoding Standard and Unicode, chapter 3.9).
Decoded decode_utf8(std::string_view text);
/// Where the first byte stands that decode_utf8() would replace; npos: it is UTF-8.
std::size_t find_invalid_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t c);

}  // namespace mettle::detail
