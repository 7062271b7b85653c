// Words become pieces, pieces are cut to the length that is wanted, and a template is put around
// them.
#include "models/tokenizer.h"

#include <algorithm>
#include <array>

#include "engine/check.h"
#include "engine/parallel.h"
#include "models/tokenizer/vocabulary.h"
#include "models/tokenizer/words.h"

namespace mettle {
namespace {

using detail::Piece;
using detail::Vocabulary;
using detail::WordPiece;
using detail::WordReader;
using detail::WordRules;
using Kind = TemplatePart::Kind;

// Texts of a batch that one thread takes at a time.
constexpr std::int64_t kChunk = 64;

// What the template adds.
std::int64_t added_count(const std::vector<TemplatePart>& parts) {
  std::int64_t count = 0;
  for (const TemplatePart& part : parts) count += std::ssize(part.ids);
  return count;
}

std::vector<TemplatePart> without_special(std::vector<TemplatePart> parts) {
  std::erase_if(parts, [](const TemplatePart& part) { return part.kind == Kind::special; });
  return parts;
}

void check_id(std::string_view what, std::int32_t id, std::int32_t size) {
  METTLE_CHECK(ValueError, id >= 0 && id < size, "{} has the id {}, tokens are 0..{}", what, id,
               size - 1);
}

void check_template(std::string_view name, const std::vector<TemplatePart>& parts, int texts,
                    std::int32_t size) {
  const auto count = [&](Kind kind) {
    return std::count_if(parts.begin(), parts.end(),
                         [kind](const TemplatePart& part) { return part.kind == kind; });
  };
  METTLE_CHECK(ValueError, count(Kind::first) == 1 && count(Kind::second) == texts - 1,
               "the template '{}' has to hold its {} exactly once", name,
               texts == 1 ? "text" : "texts, each");
  for (const TemplatePart& part : parts)
    for (const std::int32_t id : part.ids) check_id("a token of the template", id, size);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// As the reference does, piece by piece.
void clean_up(std::string& piece) {
  static constexpr std::array<std::array<std::string_view, 2>, 11> kReplacements = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" do not", " don't"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kReplacements) replace_all(piece, from, to);
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(TokenizerSettings given)
      : settings(std::move(given)),
        vocabulary(std::move(settings.tokens)),
        word_piece(vocabulary, settings.unknown, settings.continuing_prefix),
        rules(settings.normalization, settings.added,
              static_cast<std::size_t>(settings.max_word_chars)),
        bare_single(without_special(settings.single)),
        bare_pair(without_special(settings.pair)),
        is_special(static_cast<std::size_t>(vocabulary.size())) {
    for (const AddedToken& token : settings.added)
      is_special[static_cast<std::size_t>(token.id)] = token.special;
  }

  TokenizerSettings settings;  // but for the tokens
  Vocabulary vocabulary;
  WordPiece word_piece;
  WordRules rules;
  std::vector<TemplatePart> bare_single, bare_pair;  // the templates without special tokens
  std::vector<bool> is_special;                      // by id
};

namespace {

// The tokens of one text, read word by word.
class TokenStream {
 public:
  TokenStream(const Vocabulary& vocabulary, const WordPiece& word_piece, const WordRules& rules,
              std::string_view text)
      : vocabulary_(&vocabulary), word_piece_(&word_piece), reader_(rules, text) {}

  /// Appends the tokens of the next word; false: there is none.
  bool step(Encoding& out) {
    if (!reader_.next()) return false;
    if (reader_.added() != nullptr) {
      append(out, reader_.added()->id, reader_.span());
    } else if (reader_.too_long() || !word_piece_->cut(*vocabulary_, reader_.text(), pieces_)) {
      append(out, word_piece_->unknown(), reader_.span());
    } else {
      for (const Piece& piece : pieces_)
        append(out, piece.id, reader_.span(piece.begin, piece.end));
    }
    return true;
  }

  /// Reads until there are more than `limit` tokens; false: the text ended before.
  bool read_beyond(std::int64_t limit, Encoding& out) {
    while (std::ssize(out.ids) <= limit)
      if (!step(out)) return false;
    return true;
  }

 private:
  static void append(Encoding& out, std::int32_t id, TextSpan span) {
    out.ids.push_back(id);
    out.spans.push_back(span);
  }

  const Vocabulary* vocabulary_;
  const WordPiece* word_piece_;
  WordReader reader_;
  std::vector<Piece> pieces_;
};

// Whether there are more tokens in `a` than in `b`, when both have `a_count` and `b_count` already.
bool is_longer(TokenStream& a, std::int64_t a_count, TokenStream& b, std::int64_t b_count) {
  Encoding scratch;
  const auto advance = [&scratch](TokenStream& stream, std::int64_t& count) {
    scratch.ids.clear();
    scratch.spans.clear();
    const bool more = stream.step(scratch);
    count += std::ssize(scratch.ids);
    return more;
  };
  bool a_goes_on = true, b_goes_on = true;
  while (a_goes_on || b_goes_on) {
    // The shorter one first, so that an end decides.
    if (a_goes_on && (a_count <= b_count || !b_goes_on)) {
      a_goes_on = advance(a, a_count);
      if (!b_goes_on && a_count > b_count) return true;
    } else {
      b_goes_on = advance(b, b_count);
      if (!a_goes_on && b_count >= a_count) return false;
    }
  }
  return a_count > b_count;
}

void cut(Encoding& tokens, std::int64_t length) {
  if (std::ssize(tokens.ids) <= length) return;
  tokens.ids.resize(static_cast<std::size_t>(length));
  tokens.spans.resize(static_cast<std::size_t>(length));
}

// Reads both and cuts the longer one first, to `limit` tokens together.
void read_pair(TokenStream& a, TokenStream& b, std::int64_t limit, Encoding& first,
               Encoding& second) {
  a.read_beyond(limit, first);
  b.read_beyond(limit, second);
  const std::int64_t n = std::ssize(first.ids), m = std::ssize(second.ids);
  if (n <= limit && m <= limit - n) return;
  const std::int64_t half = limit / 2;
  // The length of the shorter one is kept up to a half of the limit.
  const std::int64_t kept = std::min({n, m, half});
  bool first_is_longer = n > m;
  if (limit % 2 == 1 && kept == half && n > limit && m > limit)
    first_is_longer = is_longer(a, n, b, m);
  cut(first_is_longer ? second : first, kept);
  cut(first_is_longer ? first : second, limit - kept);
}

Encoding assemble(const std::vector<TemplatePart>& parts, const Encoding& first,
                  const Encoding& second) {
  Encoding out;
  const std::size_t size =
      first.ids.size() + second.ids.size() + static_cast<std::size_t>(added_count(parts));
  out.ids.reserve(size);
  out.type_ids.reserve(size);
  out.spans.reserve(size);
  for (const TemplatePart& part : parts) {
    if (part.kind == Kind::special) {
      out.ids.insert(out.ids.end(), part.ids.begin(), part.ids.end());
    } else {
      const Encoding& from = part.kind == Kind::first ? first : second;
      out.ids.insert(out.ids.end(), from.ids.begin(), from.ids.end());
      out.spans.insert(out.spans.end(), from.spans.begin(), from.spans.end());
    }
    out.spans.resize(out.ids.size());
    out.type_ids.resize(out.ids.size(), part.type_id);
  }
  return out;
}

void check_text(std::string_view text, InvalidUtf8 invalid) {
  if (invalid == InvalidUtf8::replace) return;
  const std::size_t at = detail::find_invalid_utf8(text);
  METTLE_CHECK(ValueError, at == std::string_view::npos,
               "Tokenizer::encode: the text is not UTF-8 at byte {}", at);
}

// What is left of max_length for the texts themselves.
std::int64_t room_for_text(std::optional<std::int64_t> max_length,
                           const std::vector<TemplatePart>& parts) {
  // Half of the range, so that sums of two lengths stay inside.
  constexpr std::int64_t kMost = EncodeOptions::kNoLimit / 2;
  const std::int64_t added = added_count(parts);
  const std::int64_t length = std::min(max_length.value_or(kMost), kMost);
  METTLE_CHECK(ValueError, length >= added,
               "Tokenizer::encode: max_length {} is below the {} tokens that the template adds",
               length, added);
  return length - added;
}

}  // namespace

Tokenizer::Tokenizer(TokenizerSettings settings) {
  const auto size = static_cast<std::int32_t>(settings.tokens.size());
  METTLE_CHECK(ValueError, settings.max_word_chars >= 1 && settings.max_word_chars <= 1000,
               "words of at most {} characters, supported are 1..1000", settings.max_word_chars);
  METTLE_CHECK(ValueError, !settings.max_length || *settings.max_length >= 1,
               "max_length {} is below 1", *settings.max_length);
  METTLE_CHECK(ValueError, settings.padding.length >= 0 && settings.padding.multiple >= 1,
               "padding to {} and multiples of {}", settings.padding.length,
               settings.padding.multiple);
  check_template("single", settings.single, 1, size);
  check_template("pair", settings.pair, 2, size);
  check_id("padding", settings.padding.id, size);
  for (const AddedToken& token : settings.added) {
    METTLE_CHECK(ValueError, !token.content.empty(), "added token {} is empty", token.id);
    check_id("added token '" + token.content + "'", token.id, size);
    const std::string& known = settings.tokens[static_cast<std::size_t>(token.id)];
    METTLE_CHECK(ValueError, known == token.content, "added token '{}' has the id {} of '{}'",
                 token.content, token.id, known);
  }
  parts_ = std::make_shared<const Parts>(std::move(settings));
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_text(text, options.invalid_utf8);
  const Parts& p = *parts_;
  const auto& parts = options.special_tokens ? p.settings.single : p.bare_single;
  const std::int64_t room =
      room_for_text(options.max_length ? options.max_length : p.settings.max_length, parts);
  Encoding tokens;
  TokenStream(p.vocabulary, p.word_piece, p.rules, text).read_beyond(room, tokens);
  cut(tokens, room);
  return assemble(parts, tokens, {});
}

Encoding Tokenizer::encode(const TextPair& pair, const EncodeOptions& options) const {
  check_text(pair.first, options.invalid_utf8);
  check_text(pair.second, options.invalid_utf8);
  const Parts& p = *parts_;
  const auto& parts = options.special_tokens ? p.settings.pair : p.bare_pair;
  const std::int64_t room =
      room_for_text(options.max_length ? options.max_length : p.settings.max_length, parts);
  TokenStream a(p.vocabulary, p.word_piece, p.rules, pair.first);
  TokenStream b(p.vocabulary, p.word_piece, p.rules, pair.second);
  Encoding first, second;
  read_pair(a, b, room, first, second);
  return assemble(parts, first, second);
}

namespace {

template <class Text>
std::vector<Encoding> encode_each(const Tokenizer& tokenizer, std::span<const Text> texts,
                                  const EncodeOptions& options) {
  std::vector<Encoding> out(texts.size());
  parallel_for(std::ssize(texts), kChunk, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      out[i] = tokenizer.encode(texts[i], options);
  });
  return out;
}

}  // namespace

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                              const EncodeOptions& options) const {
  return encode_each(*this, texts, options);
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const TextPair> pairs,
                                              const EncodeOptions& options) const {
  return encode_each(*this, pairs, options);
}

TokenBatch Tokenizer::pad(std::span<const Encoding> encodings) const {
  const TokenPadding& padding = parts_->settings.padding;
  TokenBatch batch;
  std::int64_t length = padding.length;
  for (const Encoding& encoding : encodings) {
    batch.lengths.push_back(std::ssize(encoding.ids));
    length = std::max(length, batch.lengths.back());
  }
  length = (length + padding.multiple - 1) / padding.multiple * padding.multiple;
  const Shape shape{std::ssize(encodings), length};
  batch.ids = Tensor::empty(shape, DType::i64);
  batch.type_ids = Tensor::empty(shape, DType::i64);
  batch.mask = Tensor::zeros(shape, DType::u8);
  if (batch.ids.numel() == 0) return batch;
  std::fill_n(batch.ids.data<std::int64_t>(), batch.ids.numel(), padding.id);
  std::fill_n(batch.type_ids.data<std::int64_t>(), batch.type_ids.numel(), padding.type_id);
  for (std::size_t i = 0; i < encodings.size(); ++i) {
    const Encoding& from = encodings[i];
    METTLE_CHECK(ShapeError, from.ids.size() == from.type_ids.size(),
                 "Tokenizer::pad: encoding {} has {} ids and {} type ids", i, from.ids.size(),
                 from.type_ids.size());
    const std::int64_t row = static_cast<std::int64_t>(i) * length;
    std::copy(from.ids.begin(), from.ids.end(), batch.ids.data<std::int64_t>() + row);
    std::copy(from.type_ids.begin(), from.type_ids.end(),
              batch.type_ids.data<std::int64_t>() + row);
    std::fill_n(batch.mask.data<std::uint8_t>() + row, from.ids.size(), std::uint8_t{1});
  }
  return batch;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  const TokenizerSettings& settings = parts_->settings;
  std::string out;
  bool is_first = true;
  for (const std::int32_t id : ids) {
    std::string piece = token(id);
    if (skip_special_tokens && parts_->is_special[static_cast<std::size_t>(id)]) continue;
    if (!is_first) {
      if (settings.decode_words && piece.starts_with(settings.decode_prefix))
        piece.erase(0, settings.decode_prefix.size());
      else
        piece.insert(0, " ");
    }
    if (settings.decode_words && settings.decode_cleanup) clean_up(piece);
    out += piece;
    is_first = false;
  }
  return out;
}

std::int32_t Tokenizer::size() const { return parts_->vocabulary.size(); }

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  return parts_->vocabulary.find(token);
}

const std::string& Tokenizer::token(std::int32_t id) const {
  METTLE_CHECK(ValueError, id >= 0 && id < size(), "Tokenizer: id {} is no token, they are 0..{}",
               id, size() - 1);
  return parts_->vocabulary.token(id);
}

std::optional<std::int64_t> Tokenizer::max_length() const { return parts_->settings.max_length; }

}  // namespace mettle
