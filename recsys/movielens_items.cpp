// Item files of all four families: titles, years and genres.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <unordered_set>

#include "recsys/movielens.h"
#include "recsys/movielens_columns.h"

namespace mettle {
namespace {

// u.item's flag columns, in the order of the u.genre file that comes with it.
constexpr std::array<std::string_view, 19> kFlagGenres = {
    "unknown",     "Action", "Adventure", "Animation", "Children's", "Comedy",  "Crime",
    "Documentary", "Drama",  "Fantasy",   "Film-Noir", "Horror",     "Musical", "Mystery",
    "Romance",     "Sci-Fi", "Thriller",  "War",       "Western"};
constexpr std::size_t kFlagsBegin = 5;  // behind id, title, release, video release and URL

constexpr int kFirstYear = 1870;
constexpr int kLastYear = 2200;

std::optional<int> plausible_year(std::string_view digits) {
  int year = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), year);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (year < kFirstYear || year > kLastYear) return std::nullopt;
  return year;
}

// "Name (1995)" -> year 1995 and title "Name"; of a span "(2006-2012)" the first year counts.
// Anything else keeps its title whole.
void take_year_from_title(ItemTable::Row& row) {
  std::string_view title = row.title;
  while (title.ends_with(' ')) title.remove_suffix(1);
  const std::size_t open = title.rfind('(');
  if (!title.ends_with(')') || open == std::string_view::npos) return;
  const std::string_view inside = title.substr(open + 1, title.size() - open - 2);
  const bool span =
      inside.size() > 4 && (inside[4] == '-' || inside.substr(4).starts_with("\u2013"));
  if (inside.size() != 4 && !span) return;
  const auto year = plausible_year(inside.substr(0, 4));
  if (!year) return;
  row.year = year;
  title = title.substr(0, open);
  while (title.ends_with(' ')) title.remove_suffix(1);
  row.title = std::string(title);
}

// A year column: "NA" or nothing where unknown. RecBole's are tokens, anything goes: "V" in
// ml-100k.
std::optional<int> parse_year(const TableReader& reader, const Field& field,
                              MovieLensFormat format) {
  if (field.text.empty() || field.text == "NA") return std::nullopt;
  const auto year = plausible_year(field.text);
  if (!year && format != MovieLensFormat::recbole)
    reader.fail_at(field.column, fmt::format("year {} is not within {}..{}", printable(field.text),
                                             kFirstYear, kLastYear));
  return year;
}

std::vector<std::string> parse_genres(const TableReader& reader, const Field& field,
                                      char separator) {
  const std::string text = parse_text(reader, field, "genres");
  if (text == "(no genres listed)") return {};
  const auto parts = split_parts(text, separator);
  return {parts.begin(), parts.end()};
}

// How one family's rows become items.
class ItemRows {
 public:
  ItemRows(MovieLensFormat format, TableReader& reader) : format_(format) {
    switch (format) {
      case MovieLensFormat::csv: read_csv_header(reader); break;
      case MovieLensFormat::recbole: read_recbole_header(reader); break;
      case MovieLensFormat::dat:
        genres_ = 2;
        count_ = 3;
        break;
      case MovieLensFormat::udata: count_ = kFlagsBegin + kFlagGenres.size(); break;
    }
  }

  ItemTable::Row parse(const TableReader& reader) const {
    reader.expect_fields(count_);
    const auto fields = reader.fields();
    ItemTable::Row row;
    row.id = parse_id(reader, fields[id_], "item id");
    const bool legacy = format_ == MovieLensFormat::dat || format_ == MovieLensFormat::udata;
    row.title = legacy ? parse_legacy_text(reader, fields[title_], "title")
                       : parse_text(reader, fields[title_], "title");
    if (year_) row.year = parse_year(reader, fields[*year_], format_);
    if (!year_ || (format_ == MovieLensFormat::recbole && !row.year)) take_year_from_title(row);
    if (format_ == MovieLensFormat::udata)
      parse_flags(reader, row);
    else if (genres_)
      row.genres =
          parse_genres(reader, fields[*genres_], format_ == MovieLensFormat::recbole ? ' ' : '|');
    return row;
  }

 private:
  void read_csv_header(TableReader& reader) {
    const Header header = read_header(reader);
    id_ = require_column(reader, header, {"movieId"});
    title_ = require_column(reader, header, {"title"});
    year_ = header.find({"year"});
    genres_ = require_column(reader, header, {"genres"});
    count_ = header.names.size();
  }

  void read_recbole_header(TableReader& reader) {
    const Header header = read_typed_header(reader);
    id_ = require_column(reader, header, {"item_id"});
    title_ = require_column(reader, header, {"movie_title", "title"});
    year_ = header.find({"release_year", "year"});
    genres_ = header.find({"class", "genre", "genres"});
    count_ = header.names.size();
  }

  // The title's year is missing where the release date ("01-Jan-1995") is not always.
  static void parse_flags(const TableReader& reader, ItemTable::Row& row) {
    const auto fields = reader.fields();
    const std::string_view date = fields[2].text;
    if (!row.year && date.size() >= 4) row.year = plausible_year(date.substr(date.size() - 4));
    for (std::size_t g = 0; g < kFlagGenres.size(); ++g) {
      const Field& flag = fields[kFlagsBegin + g];
      if (flag.text != "0" && flag.text != "1")
        reader.fail_at(flag.column,
                       fmt::format("genre flag {} is not 0 or 1", printable(flag.text)));
      if (flag.text == "1" && g > 0) row.genres.emplace_back(kFlagGenres[g]);
    }
  }

  MovieLensFormat format_;
  std::size_t id_ = 0, title_ = 1, count_ = 0;
  std::optional<std::size_t> year_, genres_;
};

}  // namespace

ItemTable parse_items(MovieLensFormat format, std::string_view text, std::string name) {
  TableReader reader(text, std::move(name), metadata_style(format));
  const ItemRows rows(format, reader);
  ItemTable table;
  std::unordered_set<std::string> seen;
  while (reader.next()) {
    table.rows.push_back(rows.parse(reader));
    if (!seen.insert(table.rows.back().id).second)
      reader.fail_at(1, fmt::format("item id {} occurs twice", printable(table.rows.back().id)));
  }
  if (table.rows.empty()) reader.fail_at(1, "the file holds no items");
  return table;
}

}  // namespace mettle
