// The two kinds of tokenizer file: what each section does, and what is refused with which words.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "models/tokenizer_files.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/temporary_folder.h"

namespace mettle::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json small() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true},
      {"id": 6, "content": "<new>", "single_word": false, "lstrip": true, "rstrip": true,
       "normalized": false, "special": false}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                   "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100,
              "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5}}})");
}

Tokenizer parse(const json& content) {
  return Tokenizer(parse_tokenizer_json(content.dump(), "t.json"));
}

std::string refusal(const json& content) {
  return message_of<Error>([&] { (void)parse(content); });
}

std::string refusal(const std::string& text) {
  return message_of<FileError>([&] { (void)parse_tokenizer_json(text, "t.json"); });
}

std::string vocab_refusal(const std::string& text) {
  return message_of<FileError>([&] { (void)parse_vocab(text, {}, "v.txt"); });
}

TEST(TokenizerJson, EverySectionIsUsed) {
  const Tokenizer plain = parse(small());
  EXPECT_THAT(plain.encode("A ab b").ids, ElementsAre(2, 4, 4, 5, 1, 3));
  const Encoding added = plain.encode("a <new> a<new>a");
  EXPECT_THAT(added.ids, ElementsAre(2, 4, 6, 4, 6, 4, 3));
  EXPECT_THAT(added.spans,
              ElementsAre(TextSpan{0, 0}, TextSpan{0, 1}, TextSpan{1, 8}, TextSpan{8, 9},
                          TextSpan{9, 14}, TextSpan{14, 15}, TextSpan{0, 0}));
  const Encoding pair = plain.encode(TextPair{"a", "a"});
  EXPECT_THAT(pair.ids, ElementsAre(2, 4, 3, 4, 3));
  EXPECT_THAT(pair.type_ids, ElementsAre(0, 0, 0, 1, 1));

  json other = small();
  other["post_processor"] = nullptr;
  other["decoder"] = nullptr;
  other["truncation"] = {{"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  other["padding"] = {{"strategy", {{"Fixed", 3}}}, {"direction", "Right"},
                      {"pad_to_multiple_of", 8},    {"pad_id", 0},
                      {"pad_type_id", 7},           {"pad_token", "[PAD]"}};
  other["normalizer"]["lowercase"] = false;
  const Tokenizer changed = parse(other);
  EXPECT_THAT(changed.encode("A ab").ids, ElementsAre(1, 4));
  EXPECT_EQ(changed.max_length(), 2);
  EXPECT_THAT(changed.encode("A ab", {.max_length = EncodeOptions::kNoLimit}).ids,
              ElementsAre(1, 4, 5));
  EXPECT_THAT(changed.encode(TextPair{"a", "a"}).type_ids, ElementsAre(0, 1));
  EXPECT_EQ(changed.decode(std::vector<std::int32_t>{4, 5}), "a ##b");
  const std::vector<Encoding> one = {changed.encode("a")};
  const TokenBatch batch = changed.pad(one);
  ASSERT_EQ(batch.ids.shape(), (Shape{1, 8}));
  EXPECT_EQ(batch.type_ids.data<std::int64_t>()[7], 7);
}

TEST(TokenizerJson, TemplatesMayAddWhatTheyLike) {
  json content = small();
  content["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 3}},
               {"SpecialToken": {"id": "ends", "type_id": 4}}],
    "pair": [{"Sequence": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 1}}],
    "special_tokens": {"ends": {"id": "ends", "ids": [3, 2], "tokens": ["[SEP]", "[CLS]"]}}})");
  const Tokenizer tokenizer = parse(content);
  EXPECT_THAT(tokenizer.encode("a").ids, ElementsAre(4, 3, 2));
  EXPECT_THAT(tokenizer.encode("a").type_ids, ElementsAre(3, 4, 4));
  EXPECT_THAT(tokenizer.encode(TextPair{"a", "x"}).ids, ElementsAre(1, 4));
}

struct Refusal {
  const char* patch;  // RFC 7396: merged into the small file
  const char* words;
};

TEST(TokenizerJson, WhatIsNotBuiltIsRefusedByName) {
  const Refusal rows[] = {
      {R"({"version": "2.0"})", "version is \"2.0\", supported: \"1.0\""},
      {R"({"future": 1})", "future is not supported (it is 1)"},
      {R"({"model": 7})", "model is 7, supported: an object"},
      {R"({"model": {"type": "BPE"}})", "model.type is \"BPE\", supported: \"WordPiece\""},
      {R"({"model": {"dropout": 0.1}})", "model.dropout is not supported (it is 0.1)"},
      {R"({"model": {"unk_token": "<u>"}})", "no token '<u>' for unknown words"},
      {R"({"model": {"max_input_chars_per_word": 0}})", "an integer from 1 to 1000"},
      {R"({"model": {"max_input_chars_per_word": -3}})", "per_word is -3, supported: an integer"},
      {R"({"model": {"max_input_chars_per_word": 1e3}})", "an integer from 1 to 1000"},
      {R"({"model": {"continuing_subword_prefix": null}})", "there is no model.continuing"},
      {R"({"model": {"vocab": {"a": 5}}})", "id 5 is both"},
      {R"({"model": {"vocab": {"a": 9}}})", "no token has the id 4, though ids go up to 9"},
      {R"({"model": {"vocab": {"x": -1}}})", "the id of \"x\" is -1"},
      {R"({"model": {"vocab": {"x": 1.5}}})", "the id of \"x\" is 1.5"},
      {R"({"model": {"vocab": {"x": 4000000000}}})", "the id of \"x\" is 4000000000"},
      {R"({"model": {"vocab": {"x": [1]}}})", "model.vocab holds a list"},
      {R"({"model": {"vocab": {"x": {}}}})", "model.vocab holds an object"},
      {R"({"model": {"vocab": {"": 7}}})", "token 7 is empty"},
      {R"({"model": {"vocab": [1]}})", "model.vocab is not supported"},
      {R"({"normalizer": null})", "there is no normalizer"},
      {R"({"normalizer": {"type": "NFC"}})", "normalizer.type is \"NFC\", supported: \"BertNorm"},
      {R"({"normalizer": {"lowercase": "yes"}})", "lowercase is \"yes\", supported: true or false"},
      {R"({"pre_tokenizer": {"type": "Whitespace"}})", "pre_tokenizer.type is \"Whitespace\""},
      {R"({"post_processor": {"type": "RobertaProcessing"}})", "\"RobertaProcessing\", supported"},
      {R"({"post_processor": {"cls": ["[CLS]", 3]}})", "post_processor.cls is [\"[CLS]\",3]"},
      {R"({"decoder": {"type": "ByteLevel"}})", "decoder.type is \"ByteLevel\""},
      {R"({"truncation": {"max_length": 0, "strategy": "LongestFirst", "stride": 0}})",
       "max_length is 0, supported: an integer from 1"},
      {R"({"truncation": {"max_length": 9, "strategy": "OnlyFirst", "stride": 0}})",
       "truncation.strategy is \"OnlyFirst\", supported: \"LongestFirst\""},
      {R"({"truncation": {"max_length": 9, "strategy": "LongestFirst", "stride": 4}})",
       "truncation.stride is 4, supported: 0"},
      {R"({"truncation": {"direction": "Left", "max_length": 9, "strategy": "LongestFirst",
           "stride": 0}})",
       "truncation.direction is \"Left\", supported: \"Right\""},
      {R"({"padding": {"strategy": {"Fixed": 99999999}, "direction": "Right"}})",
       "padding.strategy.Fixed is 99999999"},
      {R"({"padding": {"strategy": "BatchLongest", "direction": "Left"}})", "padding.direction is"},
      {R"({"padding": {"strategy": "BatchLongest", "direction": "Right", "pad_id": 1,
           "pad_type_id": 0, "pad_token": "[PAD]"}})",
       "pad_token is \"[PAD]\", supported: the token with the id 1"},
      {R"({"added_tokens": 4})", "added_tokens is 4, supported: a list"},
      {R"({"added_tokens": [4]})", "added_tokens[0] is 4, supported: an object"},
  };
  for (const Refusal& row : rows) {
    json content = small();
    content.merge_patch(json::parse(row.patch));
    EXPECT_THAT(refusal(content), HasSubstr(row.words)) << row.patch;
  }
}

TEST(TokenizerJson, AddedTokensMustFit) {
  const auto with = [](const char* key, const json& value) {
    json content = small();
    content["added_tokens"][1][key] = value;
    return refusal(content);
  };
  EXPECT_THAT(with("single_word", true), HasSubstr("added_tokens[1].single_word is true"));
  EXPECT_THAT(with("normalized", true), HasSubstr("normalized is true, supported: false"));
  EXPECT_THAT(with("content", ""), HasSubstr("token 6 is empty"));
  EXPECT_THAT(with("id", 1), HasSubstr("id 1 is both '[UNK]' and '<new>'"));
  EXPECT_THAT(with("id", 8), HasSubstr("no token has the id 6"));
  EXPECT_THAT(with("content", "a"), HasSubstr("token 'a' has two ids, 4 and 6"));
  EXPECT_THAT(with("colour", 1), HasSubstr("added_tokens[1].colour is not supported"));
}

TEST(TokenizerJson, TemplatesMustFit) {
  json content = small();
  content["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"x": {"id": "x", "ids": [3], "tokens": ["[SEP]"]}}})");
  EXPECT_EQ(refusal(content), "nothing was thrown");
  const auto with = [&](const char* pointer, const json& value) {
    json changed = content;
    changed["post_processor"][json::json_pointer(pointer)] = value;
    return refusal(changed);
  };
  const json x = json::parse(R"({"SpecialToken": {"id": "x", "type_id": 0}})");
  EXPECT_THAT(with("/single/0", x), HasSubstr("'single' has to hold its text exactly once"));
  EXPECT_THAT(with("/single/0/Sequence/id", "B"), HasSubstr("'single' has to hold its text"));
  EXPECT_THAT(with("/single/0/Sequence/id", "C"), HasSubstr("supported: \"A\", \"B\""));
  EXPECT_THAT(with("/pair/0/Sequence/id", "B"), HasSubstr("'pair' has to hold its texts, each"));
  EXPECT_THAT(with("/pair/0/SpecialToken", 1), HasSubstr("one of the two alone"));
  EXPECT_THAT(with("/single/0/Sequence/type_id", -1), HasSubstr("type_id is -1"));
  json named = content;
  named["post_processor"]["single"].push_back(x);
  EXPECT_EQ(refusal(named), "nothing was thrown");
  named["post_processor"]["special_tokens"]["x"]["ids"] = {9};
  EXPECT_THAT(refusal(named),
              HasSubstr("special_tokens.x.ids is [9], supported: the ids of its tokens"));
  named["post_processor"]["special_tokens"]["x"]["ids"] = {2};
  EXPECT_THAT(refusal(named), HasSubstr("x.ids is [2], supported"));
  named["post_processor"]["special_tokens"]["x"] =
      json::parse(R"({"id": "x", "ids": [3], "tokens": ["[SEP]", "a"]})");
  EXPECT_THAT(refusal(named), HasSubstr("supported: the tokens of its ids"));
  named["post_processor"]["special_tokens"] = json::object();
  EXPECT_THAT(refusal(named), HasSubstr("there is no post_processor.special_tokens.x"));
}

TEST(TokenizerJson, HostileTextIsRefusedWhileItIsRead) {
  EXPECT_THAT(refusal(std::string()), HasSubstr("t.json: not JSON from byte"));
  EXPECT_THAT(refusal(std::string("{\"model\"")), HasSubstr("not JSON from byte"));
  EXPECT_THAT(refusal(std::string("[]")), HasSubstr("the file is []"));
  EXPECT_THAT(refusal(std::string("{\"a\":\"\xff\"}")), HasSubstr("not JSON from byte"));
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("more than 12 levels"));
  EXPECT_THAT(refusal(std::string("{\"a\":1,\"a\":1}")), HasSubstr("\"a\" occurs twice"));
  EXPECT_THAT(refusal(std::string(R"({"model":{"vocab":{},"vocab":{}}})")),
              HasSubstr("\"vocab\" occurs twice"));
  std::string many = "[0";
  for (int i = 0; i < 200'000; ++i) many += ",0";
  EXPECT_THAT(refusal(many + "]"), HasSubstr("more than 131072 values"));
  std::string twice = small().dump();
  twice.insert(twice.find("\"a\":4"), "\"a\":4,");
  EXPECT_THAT(refusal(twice), HasSubstr("id 4 is both 'a' and 'a'"));
  EXPECT_THAT(refusal(std::string(detail::kMaxTokenizerFile + 1, ' ')), HasSubstr("at most"));
}

TEST(TokenizerJson, EveryShortenedFileIsRefused) {
  const std::string whole = small().dump();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(refusal(whole.substr(0, size)), "nothing was thrown") << size;
}

TEST(TokenizerVocab, ALineIsAToken) {
  const std::string text = "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\na\n##b\t \nB";
  const Tokenizer lower(parse_vocab(text, {}, "v.txt"));
  EXPECT_THAT(lower.encode("ab B").ids, ElementsAre(2, 4, 5, 1, 3));
  EXPECT_FALSE(lower.id_of("[MASK]").has_value());
  const Tokenizer cased(parse_vocab(text, {.lowercase = false}, "v.txt"));
  EXPECT_THAT(cased.encode("ab B").ids, ElementsAre(2, 4, 5, 6, 3));
}

TEST(TokenizerVocab, RefusesWhatCannotBeRight) {
  const std::string good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
  EXPECT_EQ(vocab_refusal(good), "nothing was thrown");
  EXPECT_THAT(vocab_refusal(""), HasSubstr("v.txt: there is no [CLS] among its 0 tokens"));
  EXPECT_THAT(vocab_refusal("[UNK]\n[CLS]\n[SEP]\n"), HasSubstr("there is no [PAD]"));
  EXPECT_THAT(vocab_refusal(good + "a\n[CLS]\n"),
              HasSubstr("line 6 is the token of line 3 again: '[CLS]'"));
  EXPECT_THAT(vocab_refusal(good + "\nb\n"), HasSubstr("line 5 is empty"));
  EXPECT_THAT(vocab_refusal(good + "x\xff\n"), HasSubstr("line 5 is not UTF-8 at its byte 1"));
  EXPECT_THAT(vocab_refusal(std::string(detail::kMaxTokenText + 1, 'a')), HasSubstr("at most"));
}

class TokenizerFiles : public TemporaryFolder {};

TEST_F(TokenizerFiles, ErrorsBeginWithThePath) {
  const std::string file = (folder_ / "tokenizer.json").string();
  EXPECT_THAT(message_of<FileError>([&] { (void)load_tokenizer_json(file); }), HasSubstr(file));
  json content = small();
  content["model"]["unk_token"] = "none";
  write_file(file, content.dump());
  EXPECT_THAT(message_of<FileError>([&] { (void)load_tokenizer_json(file); }),
              HasSubstr(file + ": the vocabulary has no token 'none'"));
  write_file(file, small().dump());
  EXPECT_EQ(load_tokenizer_json(file).size(), 7);
  write_file(folder_ / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
  EXPECT_EQ(load_vocab(folder_ / "vocab.txt").size(), 4);
}

}  // namespace
}  // namespace mettle::test
