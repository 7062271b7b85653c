// The SAX reader that keeps the vocabulary apart, and the typed look at the rest.
#include "models/tokenizer/json_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/check.h"
#include "models/tokenizer_files.h"

namespace mettle::detail {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDepth = 12;
constexpr std::size_t kMaxValues = std::size_t{1} << 17;  // outside of the vocabulary
constexpr std::size_t kShown = 80;                        // bytes of a value in a message

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

class Reader final : public nlohmann::json_sax<json> {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  TokenizerJson take() { return std::move(out_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { refuse("binary data"); }

  bool key(string_t& name) override {
    if (in_vocab_) {
      METTLE_CHECK(FileError, out_.vocab.size() < kMaxTokens, "{}: more than {} tokens", name_,
                   kMaxTokens);
      token_bytes_ += name.size();
      METTLE_CHECK(FileError, token_bytes_ <= kMaxTokenText,
                   "{}: the tokens have more than {} bytes", name_, kMaxTokenText);
      out_.vocab.emplace_back(std::move(name), -1);
      return true;
    }
    if (open_.back()->contains(name)) refuse(shown(name) + " occurs twice");
    key_ = std::move(name);
    return true;
  }

  bool start_object(std::size_t) override {
    if (in_vocab_) refuse("model.vocab holds an object");
    if (open_.size() == 2 && keys_.back() == "model" && key_ == "vocab") {
      if (out_.has_vocab) refuse("\"vocab\" occurs twice");
      in_vocab_ = out_.has_vocab = true;
      return true;
    }
    return open(json::object());
  }
  bool end_object() override {
    if (in_vocab_) {
      in_vocab_ = false;
      return true;
    }
    return close();
  }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail<FileError>("{}: not JSON from byte {} on", name_, position);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const { fail<FileError>("{}: {}", name_, what); }

  json* place(json value) {
    METTLE_CHECK(FileError, ++values_ <= kMaxValues,
                 "{}: more than {} values outside of model.vocab", name_, kMaxValues);
    if (open_.empty()) {
      out_.tree = std::move(value);
      return &out_.tree;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool add(json value) {
    if (in_vocab_) {
      const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() < kMaxTokens;
      if (!fits)
        refuse("model.vocab: the id of " + shown(out_.vocab.back().first) + " is " + shown(value) +
               ", supported are integers from 0 to " + std::to_string(kMaxTokens - 1));
      out_.vocab.back().second = value.get<std::int64_t>();
      return true;
    }
    place(std::move(value));
    return true;
  }

  bool open(json value) {
    if (in_vocab_) refuse("model.vocab holds a list");
    if (open_.size() == kMaxDepth)
      refuse("more than " + std::to_string(kMaxDepth) + " levels of objects and lists");
    open_.push_back(place(std::move(value)));
    keys_.push_back(key_);
    return true;
  }
  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  const std::string& name_;
  TokenizerJson out_;
  // The containers around the next value. Their addresses hold: a list grows only while none of its
  // elements is open.
  std::vector<json*> open_;
  std::vector<std::string> keys_;  // of the containers
  std::string key_;
  bool in_vocab_ = false;
  std::size_t values_ = 0, token_bytes_ = 0;
};

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& name) {
  METTLE_CHECK(FileError, text.size() <= kMaxTokenizerFile, "{}: {} bytes, at most {}", name,
               text.size(), kMaxTokenizerFile);
  Reader reader(name);
  json::sax_parse(text, &reader);
  return reader.take();
}

Section::Section(const json& value, std::string path, const std::string& name)
    : value_(&value), path_(std::move(path)), name_(name) {
  METTLE_CHECK(FileError, value.is_object(), "{}: {} is {}, supported is an object", name_,
               path_.empty() ? "the file" : path_, shown(value));
}

std::string Section::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

bool Section::has(std::string_view key) const {
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

const json& Section::member(std::string_view key) const {
  const auto found = value_->find(key);
  METTLE_CHECK(FileError, found != value_->end(), "{}: there is no {}", name_, path_of(key));
  return *found;
}

void Section::refuse(std::string_view key, std::string_view supported) const {
  fail<FileError>("{}: {} is {}, supported: {}", name_, path_of(key), shown(member(key)),
                  supported);
}

void Section::allow_only(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : value_->items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      fail<FileError>("{}: {} is not supported (it is {}); supported here: {}", name_, path_of(key),
                      shown(value), fmt::join(keys, ", "));
}

std::string Section::text(std::string_view key) const {
  if (!member(key).is_string()) refuse(key, "text");
  return member(key).get<std::string>();
}

bool Section::flag(std::string_view key) const {
  if (!member(key).is_boolean()) refuse(key, "true or false");
  return member(key).get<bool>();
}

std::int64_t Section::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const json& value = member(key);
  const bool fits = value.is_number_unsigned() &&
                    value.get<std::uint64_t>() >= static_cast<std::uint64_t>(low) &&
                    value.get<std::uint64_t>() <= static_cast<std::uint64_t>(high);
  if (!fits) refuse(key, fmt::format("an integer from {} to {}", low, high));
  return value.get<std::int64_t>();
}

const json& Section::list(std::string_view key) const {
  if (!member(key).is_array()) refuse(key, "a list");
  return member(key);
}

Section Section::section(std::string_view key) const { return {member(key), path_of(key), name_}; }

void Section::expect(std::string_view key, const json& only) const {
  if (member(key) != only) refuse(key, shown(only));
}

}  // namespace mettle::detail
