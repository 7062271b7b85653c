// User files: a few categorical facts per user.
#include <fmt/format.h>

#include <array>
#include <unordered_set>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/movielens_columns.h"

namespace mettle {
namespace {

// Field names in file order, the id first.
std::vector<std::string> user_columns(MovieLensFormat format, TableReader& reader) {
  switch (format) {
    case MovieLensFormat::dat: return {"user_id", "gender", "age", "occupation", "zip_code"};
    case MovieLensFormat::udata: return {"user_id", "age", "gender", "occupation", "zip_code"};
    case MovieLensFormat::recbole: return read_typed_header(reader).names;
    case MovieLensFormat::csv: break;
  }
  fail<ValueError>("users: the csv family of MovieLens has no user file");
}

}  // namespace

UserTable parse_users(MovieLensFormat format, std::string_view text, std::string name) {
  TableReader reader(text, std::move(name), metadata_style(format));
  const Header header{user_columns(format, reader)};
  const std::size_t id_column = require_column(reader, header, {"user_id"});
  UserTable table;
  for (std::size_t c = 0; c < header.names.size(); ++c)
    if (c != id_column) table.fields.push_back(header.names[c]);
  std::unordered_set<std::string> seen;
  while (reader.next()) {
    reader.expect_fields(header.names.size());
    UserTable::Row row;
    for (std::size_t c = 0; c < header.names.size(); ++c) {
      const Field& field = reader.fields()[c];
      if (c == id_column)
        row.id = parse_id(reader, field, "user id");
      else
        row.values.push_back(parse_text(reader, field, header.names[c]));
    }
    if (!seen.insert(row.id).second)
      reader.fail_at(1, fmt::format("user id {} occurs twice", printable(row.id)));
    table.rows.push_back(std::move(row));
  }
  if (table.rows.empty()) reader.fail_at(1, "the file holds no users");
  return table;
}

}  // namespace mettle
