// Row splitting and strict field parsing with line and column in every error.
#include "recsys/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr std::size_t kMaxIdBytes = 128;

// Length of the well-formed UTF-8 sequence that `text` begins with, 0 if there is none
// (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  return length;
}

// Offset of the first byte that does not belong to well-formed UTF-8, npos if all do.
std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

// Offset of the first control character (C0, DEL, C1) in valid UTF-8: such bytes could drive a
// terminal that prints the title.
std::size_t find_control(std::string_view utf8) {
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    if (byte < 0x20 || byte == 0x7F) return i;
    if (byte == 0xC2 && static_cast<unsigned char>(utf8[i + 1]) < 0xA0) return i;
  }
  return std::string_view::npos;
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xC0 | (byte >> 6)));
      out.push_back(static_cast<char>(0x80 | (byte & 0x3F)));
    }
  }
  return out;
}

void require_clean(const TableReader& reader, const Field& field, std::string_view utf8,
                   std::string_view what) {
  const std::size_t bad = find_control(utf8);
  if (bad != std::string_view::npos)
    reader.fail_at(field.column,
                   fmt::format("{} {} holds a control character", what, printable(utf8)));
}

void require_utf8(const TableReader& reader, const Field& field, std::string_view what) {
  const std::size_t bad = find_invalid_utf8(field.text);
  if (bad != std::string_view::npos)
    reader.fail_at(field.column + static_cast<std::int64_t>(bad),
                   fmt::format("{} {} is not valid UTF-8", what, printable(field.text)));
}

template <class T> bool parse_whole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

TableReader::TableReader(std::string_view text, std::string name, TableStyle style)
    : rest_(text), name_(std::move(name)), style_(style) {
  if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
}

void TableReader::fail_at(std::int64_t column, std::string_view message) const {
  fail<FileError>("{}:{}:{}: {}", name_, std::max<std::int64_t>(line_, 1), column, message);
}

void TableReader::expect_fields(std::size_t count) const {
  if (fields_.size() == count) return;
  const std::string separator = style_.separator == "\t" ? "tab" : printable(style_.separator);
  const std::int64_t column = fields_.size() > count ? fields_[count].column : 1;
  fail_at(column, fmt::format("expected {} fields separated by {}, found {}", count, separator,
                              fields_.size()));
}

bool TableReader::next() {
  fields_.clear();
  while (!rest_.empty()) {
    ++line_;
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    std::string_view row = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (static_cast<std::int64_t>(row.size()) > kMaxLineBytes)
      fail_at(kMaxLineBytes + 1, fmt::format("the line has {} bytes, more than the {} accepted",
                                             row.size(), kMaxLineBytes));
    if (row.empty()) continue;
    split(row);
    return true;
  }
  return false;
}

void TableReader::split(std::string_view row) {
  unquoted_.clear();
  unquoted_.reserve(row.size());  // views into it must stay valid while the row is read
  std::size_t begin = 0;
  for (;;) {
    std::size_t end;
    if (style_.quotes && begin < row.size() && row[begin] == '"') {
      end = read_quoted(row, begin);
    } else {
      end = std::min(row.find(style_.separator, begin), row.size());
      const std::string_view text = row.substr(begin, end - begin);
      const std::size_t quote = style_.quotes ? text.find('"') : std::string_view::npos;
      if (quote != std::string_view::npos)
        fail_at(static_cast<std::int64_t>(begin + quote) + 1,
                "quote inside a field without quotes");
      fields_.push_back({text, static_cast<std::int64_t>(begin) + 1});
    }
    if (end == row.size()) return;
    begin = end + style_.separator.size();
  }
}

// Appends the quoted field that opens at `open` and returns the offset behind its closing quote.
std::size_t TableReader::read_quoted(std::string_view row, std::size_t open) {
  const std::size_t start = unquoted_.size();
  std::size_t i = open + 1;
  for (;; ++i) {
    if (i >= row.size())
      fail_at(static_cast<std::int64_t>(open) + 1, "the quote is not closed on its line");
    if (row[i] == '"') {
      if (i + 1 >= row.size() || row[i + 1] != '"') break;
      ++i;
    }
    unquoted_.push_back(row[i]);
  }
  ++i;
  if (i < row.size() && !row.substr(i).starts_with(style_.separator))
    fail_at(static_cast<std::int64_t>(i) + 1, "text after the closing quote");
  fields_.push_back(
      {std::string_view(unquoted_).substr(start), static_cast<std::int64_t>(open) + 1});
  return i;
}

std::optional<std::size_t> Header::find(std::initializer_list<std::string_view> accepted) const {
  for (const std::string_view name : accepted) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  return std::nullopt;
}

Header read_header(TableReader& reader) {
  if (!reader.next()) reader.fail_at(1, "the file is empty");
  Header header;
  for (const Field& field : reader.fields()) {
    if (header.find({field.text}))
      reader.fail_at(field.column, fmt::format("column {} occurs twice", printable(field.text)));
    header.names.emplace_back(field.text);
  }
  return header;
}

std::size_t require_column(const TableReader& reader, const Header& header,
                           std::initializer_list<std::string_view> accepted) {
  const auto index = header.find(accepted);
  if (!index) {
    std::string have;
    for (std::size_t i = 0; i < std::min<std::size_t>(header.names.size(), 8); ++i)
      have += (i ? ", " : "") + printable(header.names[i]);
    reader.fail_at(1, fmt::format("no column {} in the header, which has {}",
                                  printable(*accepted.begin()), have));
  }
  return *index;
}

std::int64_t parse_integer(const TableReader& reader, const Field& field, std::string_view what) {
  std::int64_t value = 0;
  if (!parse_whole(field.text, value))
    reader.fail_at(field.column,
                   fmt::format("{} {} is not a 64-bit integer", what, printable(field.text)));
  return value;
}

double parse_number(const TableReader& reader, const Field& field, std::string_view what) {
  double value = 0;
  if (!parse_whole(field.text, value) || !std::isfinite(value))
    reader.fail_at(field.column,
                   fmt::format("{} {} is not a finite number", what, printable(field.text)));
  return value;
}

std::string_view parse_id(const TableReader& reader, const Field& field, std::string_view what) {
  const std::string_view id = field.text;
  if (id.empty()) reader.fail_at(field.column, fmt::format("{} is empty", what));
  if (id.size() > kMaxIdBytes)
    reader.fail_at(field.column, fmt::format("{} {} has {} bytes, more than the {} accepted", what,
                                             printable(id), id.size(), kMaxIdBytes));
  require_utf8(reader, field, what);
  require_clean(reader, field, id, what);
  std::int64_t value = 0;
  const bool digits =
      std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (digits && !parse_whole(id, value))
    reader.fail_at(field.column, fmt::format("{} {} is larger than 2^63 - 1", what, printable(id)));
  return id;
}

std::string parse_text(const TableReader& reader, const Field& field, std::string_view what) {
  require_utf8(reader, field, what);
  require_clean(reader, field, field.text, what);
  return std::string(field.text);
}

std::string parse_legacy_text(const TableReader& reader, const Field& field,
                              std::string_view what) {
  const bool utf8 = find_invalid_utf8(field.text) == std::string_view::npos;
  std::string text = utf8 ? std::string(field.text) : latin1_to_utf8(field.text);
  require_clean(reader, field, text, what);
  return text;
}

std::string printable(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F)
      out.push_back(c);
    else
      out += fmt::format("\\x{:02x}", byte);
  }
  return out + (text.size() > kShown ? "...'" : "'");
}

}  // namespace mettle
