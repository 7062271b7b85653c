// The reader of words: a fast loop over letters and digits of ASCII, a careful step for the rest.
#include "models/tokenizer/words.h"

#include <algorithm>

namespace mettle::detail {

WordRules::WordRules(const TextNormalization& normalization, std::vector<AddedToken> added,
                     std::size_t max_chars)
    : normalization_(normalization), added_(std::move(added)), max_chars_(max_chars) {
  std::sort(added_.begin(), added_.end(), [](const AddedToken& a, const AddedToken& b) {
    return a.content.size() > b.content.size();
  });
  for (const AddedToken& token : added_)
    begins_added_[static_cast<unsigned char>(token.content.front())] = true;
  for (unsigned char b = 0; b < 0x80; ++b) {
    const std::uint8_t classes = char_class(b);
    if (begins_added_[b] || (classes & kControl) != 0)
      actions_[b] = kSlow;
    else if ((classes & kSpace) != 0)
      actions_[b] = kBlank;
    else if ((classes & kPunctuation) != 0)
      actions_[b] = kSign;
    else
      actions_[b] = static_cast<unsigned char>(normalization.lowercase ? lower(b) : b);
  }
}

const AddedToken* WordRules::added_at(std::string_view text) const {
  if (!begins_added_[static_cast<unsigned char>(text.front())]) return nullptr;
  const auto found = std::find_if(added_.begin(), added_.end(), [&](const AddedToken& token) {
    return text.starts_with(token.content);
  });
  return found == added_.end() ? nullptr : &*found;
}

WordReader::WordReader(const WordRules& rules, std::string_view text)
    : rules_(&rules), source_(text) {}

void WordReader::clear() {
  word_.clear();
  places_.clear();
  chars_ = run_begin_ = 0;
  contiguous_ = true;
  added_ = nullptr;
  whole_ = {};
}

bool WordReader::next() {
  clear();
  while (at_ < source_.size()) {
    read_plain();
    if (at_ == source_.size()) break;
    const unsigned char action = rules_->byte_action(source_[at_]);
    if (action == WordRules::kBlank || action == WordRules::kSign) {
      const auto begin = static_cast<std::int64_t>(at_);
      if (chars_ > 0) return true;
      ++at_;
      if (action == WordRules::kBlank) continue;
      append(static_cast<unsigned char>(source_[at_ - 1]), {begin, begin + 1});
      return true;
    }
    if (read_character() == Step::finished) return true;
  }
  return chars_ > 0;
}

// Letters and digits of ASCII.
void WordReader::read_plain() {
  const std::size_t begin = at_;
  while (at_ < source_.size() && rules_->byte_action(source_[at_]) > WordRules::kSign) ++at_;
  const std::size_t read = at_ - begin;
  if (read == 0) return;
  if (chars_ == 0) whole_.begin = static_cast<std::int64_t>(begin);
  if (contiguous_ && begin != static_cast<std::size_t>(whole_.begin) + word_.size()) note_places();
  whole_.end = static_cast<std::int64_t>(at_);
  const std::size_t room = rules_->max_chars() - std::min(chars_, rules_->max_chars());
  const std::size_t kept = std::min(read, room), old = word_.size();
  word_.resize(old + kept);
  for (std::size_t i = 0; i < kept; ++i)
    word_[old + i] = static_cast<char>(rules_->byte_action(source_[begin + i]));
  for (std::size_t i = begin; !contiguous_ && i < begin + kept; ++i)
    places_.push_back({static_cast<std::int64_t>(i), static_cast<std::int64_t>(i) + 1});
  chars_ += read;
  run_begin_ = word_.size();
}

WordReader::Step WordReader::read_character() {
  const std::string_view rest = source_.substr(at_);
  if (const AddedToken* token = rules_->added_at(rest)) {
    if (chars_ == 0) read_added(*token);
    return Step::finished;
  }
  const Decoded decoded = decode_utf8(rest);
  const TextSpan place{static_cast<std::int64_t>(at_),
                       static_cast<std::int64_t>(at_ + decoded.bytes)};
  const std::uint8_t classes = char_class(decoded.c);
  const TextNormalization& normalization = rules_->normalization();
  const bool removed = normalization.clean_text && (classes & kControl) != 0;
  if (!removed && normalization.handle_chinese_chars && (classes & kChinese) != 0)
    return read_alone(decoded.c, classes, place);
  Step step = Step::go_on;
  if (!removed) step = read_kept(decoded.c, classes, place);
  if (step == Step::go_on) at_ += decoded.bytes;
  return step;
}

// A word that consists of one character; not yet, when another one ends before it.
WordReader::Step WordReader::read_alone(char32_t c, std::uint8_t classes, TextSpan place) {
  if (chars_ > 0) return Step::finished;
  at_ = static_cast<std::size_t>(place.end);
  if (rules_->normalization().strip_accents && (classes & kFolds) != 0) {
    for (const char32_t letter : Folded(c)) append_lowered(letter, char_class(letter), place);
  } else {
    append_lowered(c, classes, place);
  }
  return Step::finished;
}

// A character that cleaning left. Whether it ends a word is asked of what it folds to: U+037E is a
// semicolon then.
WordReader::Step WordReader::read_kept(char32_t c, std::uint8_t classes, TextSpan place) {
  const auto splits = [](std::uint8_t bits) { return (bits & (kSpace | kPunctuation)) != 0; };
  if (!rules_->normalization().strip_accents || (classes & (kFolds | kMark)) == 0) {
    if (!splits(classes)) {
      append_lowered(c, classes, place);
      return Step::go_on;
    }
    if ((classes & kPunctuation) != 0) return read_alone(c, classes, place);
    return chars_ > 0 ? Step::finished : Step::go_on;
  }
  const Folded folded = (classes & kFolds) != 0 ? Folded(c) : Folded(0);
  if (folded.begin() == folded.end()) {
    // Gone, but a starter that was here keeps the nonstarters on its two sides apart.
    if ((classes & kNonstarter) == 0) run_begin_ = word_.size();
    return Step::go_on;
  }
  const std::uint8_t first = char_class(*folded.begin());
  if (splits(first)) {
    if ((first & kPunctuation) != 0) return read_alone(c, classes, place);
    return chars_ > 0 ? Step::finished : Step::go_on;
  }
  for (const char32_t letter : folded) append_lowered(letter, char_class(letter), place);
  return Step::go_on;
}

void WordReader::read_added(const AddedToken& token) {
  const auto is_space = [](const Decoded& d) { return (char_class(d.c) & kSpace) != 0; };
  std::size_t begin = at_, end = at_ + token.content.size();
  while (token.rstrip && end < source_.size()) {
    const Decoded decoded = decode_utf8(source_.substr(end));
    if (!is_space(decoded)) break;
    end += decoded.bytes;
  }
  while (token.lstrip && begin > added_end_) {
    std::size_t before = begin - 1;
    while (before > added_end_ && (static_cast<unsigned char>(source_[before]) & 0xc0) == 0x80)
      --before;
    const Decoded decoded = decode_utf8(source_.substr(before));
    if (before + decoded.bytes != begin || !is_space(decoded)) break;
    begin = before;
  }
  added_ = &token;
  whole_ = {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)};
  at_ = added_end_ = end;
}

void WordReader::append_lowered(char32_t c, std::uint8_t classes, TextSpan place) {
  if (!rules_->normalization().lowercase || (classes & kLowers) == 0) {
    append(c, place);
  } else {
    append(lower(c), place);
    if (c == 0x130) append(0x307, place);
  }
}

void WordReader::append(char32_t c, TextSpan place) {
  if (chars_ == 0) whole_.begin = place.begin;
  // A byte of the original for each of the word's, up to here?
  const bool plain = c < 0x80 && place.end == place.begin + 1;
  if (contiguous_ && !(plain && place.begin == whole_.begin + std::ssize(word_))) note_places();
  whole_.end = std::max(whole_.end, place.end);
  if (++chars_ > rules_->max_chars()) return;
  const bool moves = rules_->normalization().strip_accents && (char_class(c) & kNonstarter) != 0;
  const std::size_t where = moves ? place_in_run(c) : word_.size();
  std::string bytes;
  append_utf8(bytes, c);
  word_.insert(where, bytes);
  if (!contiguous_)
    places_.insert(places_.begin() + static_cast<std::ptrdiff_t>(where), bytes.size(), place);
  if (!moves) run_begin_ = word_.size();
}

// Where canonical order puts a nonstarter: behind the last one of its class or of a lower one.
std::size_t WordReader::place_in_run(char32_t c) const {
  const std::uint8_t value = combining_class(c);
  std::size_t where = word_.size();
  while (where > run_begin_) {
    std::size_t before = where - 1;
    while ((static_cast<unsigned char>(word_[before]) & 0xc0) == 0x80) --before;
    if (combining_class(decode_utf8(std::string_view(word_).substr(before)).c) <= value) break;
    where = before;
  }
  return where;
}

void WordReader::note_places() {
  contiguous_ = false;
  for (std::int64_t i = 0; i < std::ssize(word_); ++i)
    places_.push_back({whole_.begin + i, whole_.begin + i + 1});
}

TextSpan WordReader::span(std::size_t begin, std::size_t end) const {
  if (contiguous_)
    return {whole_.begin + static_cast<std::int64_t>(begin),
            whole_.begin + static_cast<std::int64_t>(end)};
  TextSpan out = places_[begin];
  for (std::size_t i = begin + 1; i < end; ++i) {
    out.begin = std::min(out.begin, places_[i].begin);
    out.end = std::max(out.end, places_[i].end);
  }
  return out;
}

}  // namespace mettle::detail
