// Fuzzes the MovieLens parsers. The first byte picks what the rest is: a file of one family, gzip
// data around one, or a pair of ratings and items that are joined. Whatever the bytes are, the
// outcome is a data set that keeps its promises or a FileError.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/text_file.h"

namespace {

using mettle::Dataset;
using mettle::MovieLensFormat;

constexpr MovieLensFormat kFormats[] = {MovieLensFormat::csv, MovieLensFormat::dat,
                                        MovieLensFormat::udata, MovieLensFormat::recbole};
constexpr std::size_t kMaxUnpacked = std::size_t{1} << 20;

void require(bool promise) {
  if (!promise) std::abort();
}

// The promises of Dataset's comment.
void check(const Dataset& data) {
  require(data.user_begin.size() == data.user_ids.size() + 1);
  require(data.user_begin.front() == 0 &&
          data.user_begin.back() == static_cast<std::int64_t>(data.ratings.size()));
  for (std::int32_t user = 0; user < data.user_count(); ++user) {
    const auto ratings = data.ratings_of(user);
    require(!ratings.empty());
    for (std::size_t i = 0; i < ratings.size(); ++i) {
      require(ratings[i].user == user && ratings[i].item >= 0 &&
              ratings[i].item < data.item_count());
      require(ratings[i].stars >= data.stars.low && ratings[i].stars <= data.stars.high);
      require(i == 0 || ratings[i - 1].item < ratings[i].item);
    }
  }
  for (const mettle::Item& item : data.items) {
    require(!item.id.empty());
    for (const std::int32_t genre : item.genres)
      require(genre >= 0 && static_cast<std::size_t>(genre) < data.genres.size());
  }
  for (const mettle::UserField& field : data.user_fields) {
    require(field.value.size() == data.user_ids.size());
    for (const std::int32_t value : field.value)
      require(value >= -1 && value < static_cast<std::int32_t>(field.vocabulary.size()));
  }
}

// The promises of an items file, as far as build_dataset() leans on them. Bytes below a blank would
// drive the terminal that a title is printed on.
mettle::ItemTable items(MovieLensFormat format, std::string_view text) {
  constexpr int kFirstYear = 1870, kLastYear = 2200;
  mettle::ItemTable table = mettle::parse_items(format, text, "items");
  require(!table.rows.empty());
  std::set<std::string_view> ids;
  for (const mettle::ItemTable::Row& row : table.rows) {
    require(!row.id.empty() && ids.insert(row.id).second);
    require(!row.year || (*row.year >= kFirstYear && *row.year <= kLastYear));
    for (const char c : row.title) require(static_cast<unsigned char>(c) >= ' ');
    for (const std::string& genre : row.genres) require(!genre.empty());
  }
  return table;
}

// Two or three files in one input, separated by a NUL byte.
void parse_joined(MovieLensFormat format, std::string_view text) {
  const auto take = [&text] {
    const std::string_view part = text.substr(0, text.find('\0'));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    return part;
  };
  const mettle::RatingTable ratings = mettle::parse_ratings(format, take(), "ratings");
  const std::string_view item_text = take(), users = take();
  mettle::ItemTable item_table;
  mettle::UserTable user_table;
  if (!item_text.empty()) item_table = items(format, item_text);
  if (!users.empty() && format != MovieLensFormat::csv)
    user_table = mettle::parse_users(format, users, "users");
  check(mettle::build_dataset(ratings, item_table, user_table));
}

void parse(unsigned kind, std::string_view text) {
  const MovieLensFormat format = kFormats[kind % 4];
  switch (kind / 4 % 4) {
    case 0: parse_joined(format, text); return;
    case 1: items(format, text); return;
    case 2:
      if (format != MovieLensFormat::csv) mettle::parse_users(format, text, "users");
      return;
    default: parse_joined(format, mettle::gunzip(text, "packed", kMaxUnpacked)); return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    parse(data[0], text);
  } catch (const mettle::FileError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
  return 0;
}
