// The tree is built from a stream of events, which refuses the first thing out of place: neither
// depth nor size of hostile text costs more than the limits.
#include "models/json/checked_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "engine/check.h"

namespace mettle::detail {

using nlohmann::json;

JsonTreeReader::JsonTreeReader(std::string name, const JsonLimits& limits)
    : name_(std::move(name)), limits_(limits) {}

json JsonTreeReader::read(std::string_view text) {
  METTLE_CHECK(FileError, text.size() <= limits_.bytes, "{}: {} bytes, at most {}", name_,
               text.size(), limits_.bytes);
  // The reader takes a NUL for the end of its input, whatever stands behind.
  METTLE_CHECK(FileError, text.find('\0') == text.npos, "{}: not JSON from byte {} on", name_,
               text.find('\0') + 1);
  json::sax_parse(text, this);
  return std::move(tree_);
}

bool JsonTreeReader::key(string_t& key) {
  if (open_.back()->contains(key)) refuse(shown(key) + " occurs twice");
  path_.back() = std::move(key);
  return true;
}

bool JsonTreeReader::parse_error(std::size_t position, const std::string&,
                                 const nlohmann::detail::exception&) {
  fail<FileError>("{}: not JSON from byte {} on", name_, position);
}

void JsonTreeReader::refuse(std::string_view what) const { fail<FileError>("{}: {}", name_, what); }

bool JsonTreeReader::add(json value) {
  place(std::move(value));
  return true;
}

json& JsonTreeReader::place(json value) {
  METTLE_CHECK(FileError, ++values_ <= limits_.values, "{}: more than {} values", name_,
               limits_.values);
  if (open_.empty()) return tree_ = std::move(value);
  json& parent = *open_.back();
  if (!parent.is_array()) return parent[path_.back()] = std::move(value);
  parent.push_back(std::move(value));
  return parent.back();
}

bool JsonTreeReader::open(json value) {
  METTLE_CHECK(FileError, open_.size() < limits_.depth,
               "{}: more than {} levels of objects and lists", name_, limits_.depth);
  open_.push_back(&place(std::move(value)));
  path_.emplace_back();
  return true;
}

bool JsonTreeReader::close() {
  open_.pop_back();
  path_.pop_back();
  return true;
}

json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  return JsonTreeReader(name, limits).read(text);
}

std::string shown(const json& value) {
  constexpr std::size_t longest = 80;
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  return text;
}

JsonSection::JsonSection(const json& value, std::string path, std::string name)
    : value_(&value), path_(std::move(path)), name_(std::move(name)) {
  METTLE_CHECK(FileError, value.is_object(), "{}: {} is {}, supported: an object", name_,
               path_.empty() ? "the file" : path_, shown(value));
}

std::string JsonSection::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const json& JsonSection::member(std::string_view key) const {
  const auto found = value_->find(key);
  METTLE_CHECK(FileError, found != value_->end(), "{}: there is no {}", name_, path_of(key));
  return *found;
}

bool JsonSection::has(std::string_view key) const {
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

void JsonSection::refuse(std::string_view key, std::string_view supported) const {
  fail<FileError>("{}: {} is {}, supported: {}", name_, path_of(key), shown(member(key)),
                  supported);
}

std::string JsonSection::text(std::string_view key) const {
  if (!member(key).is_string()) refuse(key, "text");
  return member(key).get<std::string>();
}

bool JsonSection::flag(std::string_view key) const {
  if (!member(key).is_boolean()) refuse(key, "true or false");
  return member(key).get<bool>();
}

double JsonSection::number(std::string_view key, double low, double high) const {
  const json& value = member(key);
  if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
    refuse(key, fmt::format("a number from {} to {}", low, high));
  return value.get<double>();
}

std::int64_t JsonSection::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const json& value = member(key);
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<std::uint64_t>() <=
                         static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) &&
                    value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high;
  if (!fits) refuse(key, fmt::format("an integer from {} to {}", low, high));
  return value.get<std::int64_t>();
}

const json& JsonSection::list(std::string_view key) const {
  if (!member(key).is_array()) refuse(key, "a list");
  return member(key);
}

JsonSection JsonSection::section(std::string_view key) const {
  return {member(key), path_of(key), name_};
}

void JsonSection::allow_only(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : value_->items())
    METTLE_CHECK(FileError, std::find(keys.begin(), keys.end(), key) != keys.end(),
                 "{}: {} is not supported (it is {}); supported here: {}", name_, path_of(key),
                 shown(value), fmt::join(keys, ", "));
}

void JsonSection::expect(std::string_view key, const json& only) const {
  if (member(key) != only) refuse(key, shown(only));
}

}  // namespace mettle::detail
