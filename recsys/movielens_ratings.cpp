// Ratings files of all four families: one loop, four descriptions of where the columns are.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/movielens_columns.h"

namespace mettle {
namespace {

constexpr std::int64_t kLinesPerPart = 1 << 16;  // as work is counted
constexpr double kLowestStars = 0.5;
constexpr double kHighestStars = 5.0;

struct RatingColumns {
  std::size_t user = 0, item = 1, stars = 2;
  std::optional<std::size_t> timestamp = 3;
  std::size_t count = 4;
};

RatingColumns from_header(TableReader& reader, const Header& header, std::string_view user,
                          std::string_view item) {
  RatingColumns columns;
  columns.user = require_column(reader, header, {user});
  columns.item = require_column(reader, header, {item});
  columns.stars = require_column(reader, header, {"rating"});
  columns.timestamp = header.find({"timestamp"});
  columns.count = header.names.size();
  return columns;
}

RatingColumns read_rating_columns(MovieLensFormat format, TableReader& reader) {
  switch (format) {
    case MovieLensFormat::csv: return from_header(reader, read_header(reader), "userId", "movieId");
    case MovieLensFormat::recbole:
      return from_header(reader, read_typed_header(reader), "user_id", "item_id");
    case MovieLensFormat::dat:
    case MovieLensFormat::udata: break;
  }
  return {};
}

// Numbers ids in order of first appearance.
class IdNumbers {
 public:
  explicit IdNumbers(std::vector<std::string>& ids) : ids_(ids) {}

  std::int32_t number(std::string_view id) {
    const auto found = numbers_.find(id);
    if (found != numbers_.end()) return found->second;
    const auto number = static_cast<std::int32_t>(ids_.size());
    METTLE_CHECK(FileError, number < std::numeric_limits<std::int32_t>::max(),
                 "more than 2^31 ids");
    ids_.emplace_back(id);
    numbers_.emplace(id, number);
    return number;
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const { return std::hash<std::string_view>()(id); }
  };
  std::vector<std::string>& ids_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> numbers_;
};

double parse_stars(const TableReader& reader, const Field& field) {
  const double stars = parse_number(reader, field, "rating");
  if (stars < kLowestStars || stars > kHighestStars)
    reader.fail_at(field.column, fmt::format("rating {} is outside {}..{}", printable(field.text),
                                             kLowestStars, kHighestStars));
  return stars;
}

// RecBole types timestamps as float; a fraction of a second is cut off.
std::int64_t parse_timestamp(const TableReader& reader, const Field& field,
                             MovieLensFormat format) {
  if (format != MovieLensFormat::recbole) return parse_integer(reader, field, "timestamp");
  const double seconds = parse_number(reader, field, "timestamp");
  if (!(seconds > -0x1p62 && seconds < 0x1p62))
    reader.fail_at(field.column,
                   fmt::format("timestamp {} is out of range", printable(field.text)));
  return static_cast<std::int64_t>(seconds);
}

}  // namespace

RatingTable parse_ratings(MovieLensFormat format, std::string_view text, std::string name,
                          const WorkHooks& hooks) {
  Work work(hooks, kReadingRatings, std::count(text.begin(), text.end(), '\n') / kLinesPerPart);
  RatingTable table;
  table.name = name;
  TableReader reader(text, std::move(name), rating_style(format));
  const RatingColumns columns = read_rating_columns(format, reader);
  table.has_timestamps = columns.timestamp.has_value();
  IdNumbers users(table.users), items(table.items);
  while (reader.next()) {
    reader.expect_fields(columns.count);
    const auto fields = reader.fields();
    RatingTable::Row row{};
    const std::string_view user = parse_id(reader, fields[columns.user], "user id");
    const std::string_view item = parse_id(reader, fields[columns.item], "item id");
    row.stars = parse_stars(reader, fields[columns.stars]);
    if (columns.timestamp)
      row.timestamp = parse_timestamp(reader, fields[*columns.timestamp], format);
    row.user = users.number(user);
    row.item = items.number(item);
    row.line = reader.line();
    table.rows.push_back(row);
    if (row.line % kLinesPerPart == 0) work.advance();
  }
  if (table.rows.empty()) reader.fail_at(1, "the file holds no ratings");
  return table;
}

}  // namespace mettle
