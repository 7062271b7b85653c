// MovieLens data in every form it is published: ratings.csv / movies.csv (also with a year column),
// '::' separated ratings.dat / movies.dat / users.dat, u.data / u.item / u.user, and RecBole's
// .inter / .item / .user; each plain or gzipped.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "recsys/dataset.h"
#include "recsys/work.h"

namespace mettle {

/// The four families of files.
enum class MovieLensFormat { csv, dat, udata, recbole };

/// Ratings as they stand in a file. `users` and `items` hold ids in order of first appearance.
struct RatingTable {
  struct Row {
    std::int32_t user;
    std::int32_t item;
    double stars;
    std::int64_t timestamp;
    std::int64_t line;  // for error messages
  };
  std::string name;
  std::vector<std::string> users;
  std::vector<std::string> items;
  std::vector<Row> rows;
  bool has_timestamps = false;
};

/// Movies as they stand in a file.
struct ItemTable {
  struct Row {
    std::string id;
    std::string title;
    std::optional<int> year;
    std::vector<std::string> genres;
  };
  std::vector<Row> rows;
};

/// Users as they stand in a file: one value per field, empty where unknown.
struct UserTable {
  struct Row {
    std::string id;
    std::vector<std::string> values;
  };
  std::vector<std::string> fields;
  std::vector<Row> rows;
};

/// The name of the work that reading is, in WorkRecord and Interrupted.
inline constexpr char kReadingRatings[] = "reading ratings";

// The parsers take the file's contents; `name` begins their error messages. Anything wrong throws
// FileError "name:line:column: reason" (columns count bytes from 1), and nothing is returned:
// missing columns, a wrong number of fields, numbers that are not numbers, stars outside 0.5..5,
// empty or oversized ids, digits-only ids above 2^63 - 1 (ids are tokens: 2^31 and more is fine),
// bytes that are not UTF-8 (in .dat and u.* titles they are read as Latin-1), control characters,
// repeated ids, an empty file. A repeated (user, item) pair is found by build_dataset.
/// The work kReadingRatings; Interrupted between lines.
RatingTable parse_ratings(MovieLensFormat format, std::string_view text, std::string name,
                          const WorkHooks& hooks = {});
ItemTable parse_items(MovieLensFormat format, std::string_view text, std::string name);
/// The csv family has no user file; the others have gender, age, occupation and zip code.
UserTable parse_users(MovieLensFormat format, std::string_view text, std::string name);

/// Joins the three tables. Movies without ratings stay in the catalogue, movies missing from
/// `items` get no title; users without ratings are left out. FileError for a (user, item) pair
/// rated twice. `tick` is called now and then.
Dataset build_dataset(const RatingTable& ratings, const ItemTable& items, const UserTable& users,
                      const Tick& tick = {});

/// The files that make up one data set; `items` and `users` may be missing.
struct MovieLensFiles {
  MovieLensFormat format = MovieLensFormat::csv;
  std::filesystem::path ratings;
  std::optional<std::filesystem::path> items;
  std::optional<std::filesystem::path> users;
};

/// Finds the files from a folder or from the path of a ratings file, by name; beside a plain file a
/// gzipped twin is ignored. FileError when nothing fits or a folder holds several data sets.
MovieLensFiles find_movielens_files(const std::filesystem::path& path);

/// find_movielens_files, read, parse and join. All or nothing; Interrupted within a second whatever
/// the size. The data set is named after the folder.
Dataset load_movielens(const std::filesystem::path& path, const WorkHooks& hooks = {});

}  // namespace mettle
