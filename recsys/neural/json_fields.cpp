// Checked access to JSON objects.
#include "recsys/neural/json_fields.h"

#include <fmt/format.h>

#include <limits>

#include "engine/check.h"

namespace mettle {

using nlohmann::json;

json parse_json(std::string_view text, std::size_t max_bytes, std::string_view what) {
  METTLE_CHECK(FileError, text.size() <= max_bytes,
               "{} is {} bytes long, more than the {} accepted", what, text.size(), max_bytes);
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    fail<FileError>("{} is not JSON from byte {} on", what, error.byte);
  } catch (const json::exception& error) {  // a number beyond the range of a double
    fail<FileError>("{} cannot be read: {}", what, error.what());
  }
}

std::string shown(const json& value) {
  constexpr std::size_t kLongest = 40;
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

JsonFields::JsonFields(const json& object, std::string path)
    : object_(object), path_(std::move(path)) {
  METTLE_CHECK(FileError, object.is_object(), "{} is {}, expected an object",
               path_.empty() ? "the whole" : path_.substr(0, path_.size() - 1), shown(object));
}

const json& JsonFields::at(const char* key) {
  const auto found = object_.find(key);
  METTLE_CHECK(FileError, found != object_.end(), "{} is missing", name(key));
  asked_.insert(key);
  return *found;
}

int JsonFields::whole(const char* key, int low, int high) {
  const json& value = at(key);
  // A number above the signed range wraps to a negative one, which no range here begins with.
  METTLE_CHECK(FileError,
               value.is_number_integer() &&
                   (!value.is_number_unsigned() ||
                    value.get<std::uint64_t>() <= std::numeric_limits<int>::max()) &&
                   value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high,
               "{} is {}, expected a whole number from {} to {}", name(key), shown(value), low,
               high);
  return value.get<int>();
}

std::uint64_t JsonFields::seed(const char* key) {
  const json& value = at(key);
  METTLE_CHECK(FileError, value.is_number_unsigned(),
               "{} is {}, expected a whole number from 0 to 2^64 - 1", name(key), shown(value));
  return value.get<std::uint64_t>();
}

double JsonFields::number(const char* key, double low, double high) {
  const json& value = at(key);
  METTLE_CHECK(FileError,
               value.is_number() && value.get<double>() >= low && value.get<double>() <= high,
               "{} is {}, expected a number from {} to {}", name(key), shown(value), low, high);
  return value.get<double>();
}

bool JsonFields::flag(const char* key) {
  const json& value = at(key);
  METTLE_CHECK(FileError, value.is_boolean(), "{} is {}, expected true or false", name(key),
               shown(value));
  return value.get<bool>();
}

std::string JsonFields::text(const char* key) {
  const json& value = at(key);
  METTLE_CHECK(FileError, value.is_string(), "{} is {}, expected a text", name(key), shown(value));
  return value.get<std::string>();
}

JsonFields JsonFields::object(const char* key) { return {at(key), name(key) + '.'}; }

void JsonFields::refuse_others() const {
  for (const auto& [key, value] : object_.items())
    METTLE_CHECK(FileError, asked_.contains(key), "{}{} is a field that this version does not know",
                 path_, shown(json(key)));
}

}  // namespace mettle
