// The tokenizer against the reference implementation's answers (tokenizer/golden.json, written by
// tokenizer/make_golden.py), and what long, broken and many texts cost and give.
#include "models/tokenizer.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "engine/parallel.h"
#include "models/tokenizer/words.h"
#include "models/tokenizer_files.h"
#include "tests/autograd/message_of.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kFolder = METTLE_TOKENIZER_GOLDEN;

const nlohmann::json& golden() {
  static const nlohmann::json content = nlohmann::json::parse(read_file(kFolder + "/golden.json"));
  return content;
}

const Tokenizer& uncased() {
  static const Tokenizer tokenizer = load_tokenizer_json(kFolder + "/tokenizer.json");
  return tokenizer;
}

// The same vocabulary, a token on each line.
std::string vocab_text() {
  std::string text;
  for (std::int32_t id = 0; id < uncased().size(); ++id) text += uncased().token(id) + "\n";
  return text;
}

Tokenizer from_vocab(const VocabOptions& options) {
  return Tokenizer(parse_vocab(vocab_text(), options, "vocab.txt"));
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

std::vector<std::int64_t> flat(const std::vector<TextSpan>& spans) {
  std::vector<std::int64_t> out;
  for (const TextSpan& span : spans) out.insert(out.end(), {span.begin, span.end});
  return out;
}

std::vector<std::int32_t> ids_of(const nlohmann::json& value) {
  return value.get<std::vector<std::int32_t>>();
}

TEST(Tokenizer, GivesTheIdsOfTheReference) {
  const Tokenizer cased = from_vocab({.lowercase = false}), lower = from_vocab({});
  ASSERT_GT(golden()["texts"].size(), 70u);
  for (const auto& text : golden()["texts"]) {
    const std::string bytes = from_hex(text["hex"]);
    EXPECT_EQ(uncased().encode(bytes).ids, ids_of(text["uncased"])) << text["hex"];
    EXPECT_EQ(lower.encode(bytes).ids, ids_of(text["uncased"])) << text["hex"];
    EXPECT_EQ(cased.encode(bytes).ids, ids_of(text["cased"])) << text["hex"];
    EXPECT_EQ(cased.decode(ids_of(text["cased"])), text["decoded"].get<std::string>())
        << text["hex"];
    if (!text.contains("spans")) continue;
    EXPECT_EQ(flat(uncased().encode(bytes).spans), text["spans"].get<std::vector<std::int64_t>>())
        << text["hex"];
  }
}

TEST(Tokenizer, CutsPairsAsTheReference) {
  for (const auto& pair : golden()["pairs"]) {
    const std::string first = pair["first"], second = pair["second"];
    const Encoding encoding =
        uncased().encode(TextPair{first, second}, {.max_length = pair["max_length"].get<int>()});
    EXPECT_EQ(encoding.ids, ids_of(pair["ids"])) << pair;
    EXPECT_EQ(encoding.type_ids, ids_of(pair["type_ids"])) << pair;
    EXPECT_EQ(encoding.spans.size(), encoding.ids.size());
  }
}

// FNV-1a over the words of a text: each with a 0xff behind it, the text with a 0xfe.
class WordHash {
 public:
  void add(const detail::WordRules& rules, std::string_view text) {
    detail::WordReader reader(rules, text);
    while (reader.next()) {
      for (const char c : reader.text()) byte(static_cast<unsigned char>(c));
      byte(0xff);
    }
    byte(0xfe);
  }
  std::string text() const { return fmt::format("{:016x}", value_); }

 private:
  void byte(unsigned char b) { value_ = (value_ ^ b) * 0x100000001b3; }
  std::uint64_t value_ = 0xcbf29ce484222325;
};

TEST(Tokenizer, ReadsEveryCodePointAsTheReference) {
  for (const auto& way : golden()["ways"]) {
    const detail::WordRules rules({.clean_text = way["clean_text"],
                                   .handle_chinese_chars = way["handle_chinese_chars"],
                                   .strip_accents = way["strip_accents"],
                                   .lowercase = way["lowercase"]},
                                  {}, 100);
    std::size_t which = 0;
    for (const auto& context : golden()["contexts"]) {
      const std::string before = context["before"], after = context["after"];
      WordHash hash;
      for (char32_t c = 0; c <= detail::kLastCodePoint; ++c) {
        if (c >= 0xd800 && c <= 0xdfff) continue;
        std::string text = before;
        detail::append_utf8(text, c);
        hash.add(rules, text + after);
      }
      EXPECT_EQ(hash.text(), way["hashes"][which++].get<std::string>()) << way << context;
    }
  }
}

TEST(Tokenizer, MaxLengthIsWhatModelsTake) {
  const Encoding whole = uncased().encode("one two three");
  const Encoding cut = uncased().encode("one two three", {.max_length = 3});
  ASSERT_GT(whole.ids.size(), 4u);
  EXPECT_THAT(cut.ids, ElementsAre(whole.ids[0], whole.ids[1], whole.ids.back()));
  EXPECT_THAT(uncased().encode("one", {.max_length = 2}).ids,
              ElementsAre(whole.ids[0], whole.ids.back()));
  EXPECT_THAT(message_of<ValueError>([] { uncased().encode("one", {.max_length = 1}); }),
              HasSubstr("max_length 1 is below the 2 tokens"));
  EXPECT_TRUE(uncased().encode("", {.special_tokens = false}).ids.empty());
  EXPECT_FALSE(uncased().max_length().has_value());
}

// Both are far beyond the limit and the limit is odd: the longer one keeps the one token more.
TEST(Tokenizer, AnOddLimitGoesByWholeLengths) {
  std::string a, b;
  for (int i = 0; i < 3000; ++i) {
    a += "a ";
    b += "b ";
  }
  const std::int32_t first = uncased().encode(a).ids[1], second = uncased().encode(b).ids[1];
  const EncodeOptions options{.max_length = 10};
  const auto counts = [&](const std::string& left, const std::string& right) {
    const std::vector<std::int32_t> ids = uncased().encode(TextPair{left, right}, options).ids;
    return std::pair(std::count(ids.begin(), ids.end(), first),
                     std::count(ids.begin(), ids.end(), second));
  };
  EXPECT_EQ(counts(a + "a", b), std::pair(4L, 3L));
  EXPECT_EQ(counts(a, b), std::pair(3L, 4L));
  EXPECT_EQ(counts(a, b + "b"), std::pair(3L, 4L));
}

TEST(Tokenizer, RejectsTextThatIsNotUtf8WhenTold) {
  const EncodeOptions strict{.invalid_utf8 = InvalidUtf8::reject};
  EXPECT_THAT(message_of<ValueError>([&] { uncased().encode("caf\xe9 au lait", strict); }),
              HasSubstr("not UTF-8 at byte 3"));
  EXPECT_THAT(message_of<ValueError>([&] {
                uncased().encode(TextPair{"a", "\xc3"}, strict);
              }),
              HasSubstr("not UTF-8 at byte 0"));
  EXPECT_EQ(uncased().encode("caf\xc3\xa9", strict).ids, uncased().encode("cafe").ids);
}

// A long text is read as far as it counts; a long word costs no more than its bytes.
TEST(Tokenizer, LongTextsAreReadNoFurtherThanNeeded) {
  constexpr std::size_t kBytes = 10'000'000;
  const auto repeated = [](std::string_view part) {
    std::string text;
    while (text.size() < kBytes) text += part;
    return text;
  };
  const EncodeOptions short_one{.max_length = 128};
  for (const std::string_view part : {"word ", "a,", "\xe4\xbd\xa0", "\xed\x95\x9c\xea\xb5\xad "}) {
    const Encoding encoding = uncased().encode(repeated(part), short_one);
    ASSERT_EQ(encoding.ids.size(), 128u) << part;
    EXPECT_LT(encoding.spans[126].end, 2000) << part;
  }
  const std::int32_t unknown = *uncased().id_of("[UNK]");
  for (const std::string_view part :
       {"a", "\xcc\x81", "a\xcc\x81", "\xe3\x80\xae\xf0\x9d\x85\xa5", "\xff", "\xef\xbb\xbf"}) {
    const Encoding encoding = uncased().encode(repeated(part), short_one);
    const bool nothing = part == "\xcc\x81" || part == "\xff" || part == "\xef\xbb\xbf";
    ASSERT_EQ(encoding.ids.size(), nothing ? 2u : 3u) << part;
    EXPECT_TRUE(nothing || encoding.ids[1] == unknown) << part;
  }
}

TEST(Tokenizer, BatchesAreTheSameOnAnyNumberOfThreads) {
  std::vector<std::string> texts;
  for (int i = 0; i < 1000; ++i)
    texts.push_back(from_hex(golden()["texts"][static_cast<std::size_t>(i) % 70]["hex"]));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<TextPair> pairs;
  for (std::size_t i = 0; i + 1 < views.size(); ++i) pairs.push_back({views[i], views[i + 1]});
  const int before = threads();
  for (const int count : kThreadCounts) {
    set_threads(count);
    const std::vector<Encoding> batch = uncased().encode_batch(views, {.max_length = 32});
    const std::vector<Encoding> both = uncased().encode_batch(pairs, {.max_length = 32});
    ASSERT_EQ(batch.size(), views.size());
    ASSERT_EQ(both.size(), pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      ASSERT_EQ(batch[i].ids, uncased().encode(views[i], {.max_length = 32}).ids);
      ASSERT_EQ(both[i].ids, uncased().encode(pairs[i], {.max_length = 32}).ids);
    }
  }
  set_threads(before);
}

TEST(Tokenizer, PadsToTheLongest) {
  const std::vector<std::string_view> texts = {"one two", "", "three"};
  const std::vector<Encoding> encodings = uncased().encode_batch(texts);
  const TokenBatch batch = uncased().pad(encodings);
  const auto length = static_cast<std::int64_t>(encodings[0].ids.size());
  ASSERT_EQ(batch.ids.shape(), (Shape{3, length}));
  ASSERT_EQ(batch.mask.shape(), batch.ids.shape());
  EXPECT_EQ(batch.lengths[0], length);
  const std::int64_t pad = *uncased().id_of("[PAD]");
  for (std::int64_t row = 0; row < 3; ++row)
    for (std::int64_t i = 0; i < length; ++i) {
      const auto& ids = encodings[static_cast<std::size_t>(row)].ids;
      const bool real = i < std::ssize(ids);
      const std::int64_t at = row * length + i;
      EXPECT_EQ(batch.mask.data<std::uint8_t>()[at], real ? 1 : 0);
      EXPECT_EQ(batch.ids.data<std::int64_t>()[at], real ? ids[static_cast<std::size_t>(i)] : pad);
      EXPECT_EQ(batch.type_ids.data<std::int64_t>()[at], 0);
    }
  EXPECT_EQ(uncased().pad({}).ids.shape(), (Shape{0, 0}));
}

TEST(Tokenizer, TokensAndIds) {
  EXPECT_EQ(uncased().size(), 1500);
  EXPECT_EQ(uncased().token(*uncased().id_of("[MASK]")), "[MASK]");
  EXPECT_FALSE(uncased().id_of("[mask]").has_value());
  EXPECT_FALSE(uncased().id_of("").has_value());
  for (std::int32_t id = 0; id < uncased().size(); ++id)
    EXPECT_EQ(uncased().id_of(uncased().token(id)), id);
  EXPECT_THAT(message_of<ValueError>([] { (void)uncased().token(1500); }),
              HasSubstr("id 1500 is no token"));
  const std::vector<std::int32_t> ids = {-1};
  EXPECT_THAT(message_of<ValueError>([&] { uncased().decode(ids); }), HasSubstr("id -1"));
}

TEST(Tokenizer, SpecialTokensCanStayInDecodedText) {
  const std::vector<std::int32_t> ids = uncased().encode("the [MASK].").ids;
  EXPECT_EQ(uncased().decode(ids), "the.");
  EXPECT_EQ(uncased().decode(ids, false), "[CLS] the [MASK]. [SEP]");
}

}  // namespace
}  // namespace mettle::test
