// Reads separated text (CSV with quotes, '::', tab, '|') row by row from memory and says exactly
// where bad input lies. Nothing here allocates more than one line's worth of memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mettle {

/// How the fields of a row are told apart.
struct TableStyle {
  std::string_view separator;
  bool quotes = false;  // fields may stand in double quotes, a quote inside is doubled (RFC 4180)
};

/// One field: its text with quotes removed, and the byte column (from 1) where it begins.
struct Field {
  std::string_view text;
  std::int64_t column = 1;
};

/// A longer line is refused: no rating or movie comes near it.
inline constexpr std::int64_t kMaxLineBytes = 64 * 1024;

/// Iterates over the rows of `text`, which must outlive the reader. Lines end with LF or CR LF;
/// empty lines and a UTF-8 byte order mark are skipped. A quoted field ends on its own line.
class TableReader {
 public:
  /// `name` is the file name that errors begin with.
  TableReader(std::string_view text, std::string name, TableStyle style);

  /// Moves to the next row; false at the end. FileError for a line that is too long or whose quotes
  /// do not match. The views in fields() live until the next call.
  bool next();
  std::span<const Field> fields() const { return fields_; }
  std::int64_t line() const { return line_; }

  /// FileError unless the row has exactly `count` fields.
  void expect_fields(std::size_t count) const;
  /// Throws FileError "name:line:column: message".
  [[noreturn]] void fail_at(std::int64_t column, std::string_view message) const;

 private:
  void split(std::string_view row);
  std::size_t read_quoted(std::string_view row, std::size_t open);

  std::string_view rest_;
  std::string name_;
  TableStyle style_;
  std::int64_t line_ = 0;
  std::vector<Field> fields_;
  std::string unquoted_;  // text of this row's quoted fields
};

/// Where a column of a table with a header line is found.
struct Header {
  std::vector<std::string> names;

  /// Index of the first of `accepted` that the header has.
  std::optional<std::size_t> find(std::initializer_list<std::string_view> accepted) const;
};

/// Reads the header row. FileError for an empty file or a repeated name.
Header read_header(TableReader& reader);
/// As Header::find, FileError when the column is missing.
std::size_t require_column(const TableReader& reader, const Header& header,
                           std::initializer_list<std::string_view> accepted);

/// Strict number parsing: the whole field, no blanks, no sign '+', finite. `what` names the value
/// in the FileError.
std::int64_t parse_integer(const TableReader& reader, const Field& field, std::string_view what);
double parse_number(const TableReader& reader, const Field& field, std::string_view what);

/// An id is a token: 1..128 bytes of UTF-8 without control characters. One made of digits only must
/// fit into 63 bits, so that ids can be ordered by value. FileError otherwise.
std::string_view parse_id(const TableReader& reader, const Field& field, std::string_view what);

/// Text for people: UTF-8 without control characters; FileError otherwise.
std::string parse_text(const TableReader& reader, const Field& field, std::string_view what);
/// The same where bytes that are not UTF-8 are taken as Latin-1, as in the older MovieLens files.
std::string parse_legacy_text(const TableReader& reader, const Field& field, std::string_view what);

/// `text` in quotes for an error message: shortened, bytes outside printable ASCII escaped.
std::string printable(std::string_view text);

}  // namespace mettle
