// Look-ups in the tables of ranges. Classes are asked for each character, so they are spread out
// into blocks of 256 once; most blocks are the same.
#include "models/tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

namespace mettle::detail {
namespace {

constexpr std::size_t kBlock = 256;
constexpr char32_t kHangul = 0xac00, kLead = 0x1100, kVowel = 0x1161, kTrail = 0x11a7;
constexpr char32_t kVowels = 21, kTrails = 28, kSyllables = 19 * kVowels * kTrails;

// The last entry that begins at or before c; nullptr: none.
template <class Range> const Range* find(std::span<const Range> table, char32_t c) {
  const auto after = std::upper_bound(table.begin(), table.end(), c,
                                      [](char32_t v, const Range& r) { return v < r.first; });
  return after == table.begin() ? nullptr : &*(after - 1);
}

class ClassTable {
 public:
  ClassTable() {
    const UnicodeTables& t = unicode_tables();
    std::vector<std::uint8_t> all(kLastCodePoint + 1);
    const auto mark = [&all](const auto& ranges, std::uint8_t bit) {
      for (const auto& range : ranges)
        for (char32_t c = range.first; c <= range.last; ++c) all[c] |= bit;
    };
    mark(t.space, kSpace);
    mark(t.control, kControl);
    mark(t.chinese, kChinese);
    mark(t.punctuation, kPunctuation);
    mark(t.mark, kMark);
    mark(t.nonstarter, kNonstarter);
    mark(std::array{CharRange{kHangul, kHangul + kSyllables - 1}}, kFolds);
    for (const Fold& fold : t.folds) all[fold.from] |= kFolds;
    for (const LowerRange& range : t.lowers)
      for (char32_t c = range.first; c <= range.last; c += range.step) all[c] |= kLowers;
    all[0x130] |= kLowers;
    share_blocks(all);
  }

  std::uint8_t operator[](char32_t c) const {
    return blocks_[index_[c / kBlock] * kBlock + c % kBlock];
  }

 private:
  void share_blocks(const std::vector<std::uint8_t>& all) {
    std::map<std::array<std::uint8_t, kBlock>, std::uint16_t> known;
    std::array<std::uint8_t, kBlock> block;
    for (std::size_t b = 0; b < index_.size(); ++b) {
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(b * kBlock), kBlock, block.begin());
      const auto [at, is_new] = known.try_emplace(block, known.size());
      if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
      index_[b] = at->second;
    }
  }

  std::array<std::uint16_t, (kLastCodePoint + 1) / kBlock> index_{};
  std::vector<std::uint8_t> blocks_;
};

struct Sequence {
  std::size_t bytes = 0;                  // of the whole character; 0: no first byte
  unsigned char low = 0x80, high = 0xbf;  // of the second byte
};

// Table 3-7 of the Unicode Standard: well-formed byte sequences.
Sequence sequence_of(unsigned char first) {
  if (first < 0xc2) return {};
  if (first < 0xe0) return {.bytes = 2};
  if (first == 0xe0) return {.bytes = 3, .low = 0xa0};
  if (first == 0xed) return {.bytes = 3, .high = 0x9f};
  if (first < 0xf0) return {.bytes = 3};
  if (first == 0xf0) return {.bytes = 4, .low = 0x90};
  if (first < 0xf4) return {.bytes = 4};
  if (first == 0xf4) return {.bytes = 4, .high = 0x8f};
  return {};
}

}  // namespace

std::uint8_t char_class(char32_t c) {
  static const ClassTable table;
  return table[c];
}

std::uint8_t combining_class(char32_t c) {
  const CombiningRange* range = find(unicode_tables().combining, c);
  return range != nullptr && c <= range->last ? range->value : 0;
}

char32_t lower(char32_t c) {
  if (c == 0x130) return 'i';
  const LowerRange* range = find(unicode_tables().lowers, c);
  const bool inside = range != nullptr && c <= range->last && (c - range->first) % range->step == 0;
  return inside ? range->to + (c - range->first) : c;
}

Folded::Folded(char32_t c) {
  if (c >= kHangul && c < kHangul + kSyllables) {
    const char32_t syllable = c - kHangul, trail = syllable % kTrails;
    letters_[0] = kLead + syllable / (kVowels * kTrails);
    letters_[1] = kVowel + syllable / kTrails % kVowels;
    letters_[2] = kTrail + trail;
    size_ = trail == 0 ? 2 : 3;
    return;
  }
  const std::span<const Fold> folds = unicode_tables().folds;
  const auto at = std::lower_bound(folds.begin(), folds.end(), c,
                                   [](const Fold& f, char32_t v) { return f.from < v; });
  if (at == folds.end() || at->from != c) return;
  while (size_ < 3 && at->to[size_] != 0) {
    letters_[size_] = at->to[size_];
    ++size_;
  }
}

Decoded decode_utf8(std::string_view text) {
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const Sequence sequence = sequence_of(first);
  char32_t c = first & (0x7fu >> sequence.bytes);
  for (std::size_t i = 1; i < std::max<std::size_t>(sequence.bytes, 1); ++i) {
    const unsigned char low = i == 1 ? sequence.low : 0x80, high = i == 1 ? sequence.high : 0xbf;
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {kReplacement, i, false};
    c = c << 6 | (byte(i) & 0x3fu);
  }
  return sequence.bytes == 0 ? Decoded{kReplacement, 1, false} : Decoded{c, sequence.bytes};
}

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_utf8(text.substr(at));
    if (!decoded.valid) return at;
    at += decoded.bytes;
  }
  return std::string_view::npos;
}

void append_utf8(std::string& out, char32_t c) {
  const auto rest = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xc0 | c >> 6), rest(0)};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xe0 | c >> 12), rest(6), rest(0)};
  } else {
    out += {static_cast<char>(0xf0 | c >> 18), rest(12), rest(6), rest(0)};
  }
}

}  // namespace mettle::detail
