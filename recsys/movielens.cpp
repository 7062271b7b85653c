// Finds and loads the files of a MovieLens data set.
#include "recsys/movielens.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "engine/check.h"
#include "recsys/text_file.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;

struct Family {
  MovieLensFormat format;
  std::string_view ratings, items, users;  // file names; RecBole's are endings
};

constexpr std::array<Family, 4> kFamilies = {{
    {MovieLensFormat::csv, "ratings.csv", "movies.csv", ""},
    {MovieLensFormat::dat, "ratings.dat", "movies.dat", "users.dat"},
    {MovieLensFormat::udata, "u.data", "u.item", "u.user"},
    {MovieLensFormat::recbole, ".inter", ".item", ".user"},
}};

// The file itself, else its gzipped twin.
std::optional<fs::path> plain_or_gzip(const fs::path& path) {
  std::error_code ignored;
  for (const char* ending : {"", ".gz"}) {
    fs::path candidate = path;
    candidate += ending;
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  return std::nullopt;
}

std::string name_without_gz(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name;
}

MovieLensFiles with_companions(const Family& family, const fs::path& ratings) {
  MovieLensFiles files{family.format, ratings, {}, {}};
  const fs::path folder = ratings.parent_path();
  const auto companion = [&](std::string_view name) -> std::optional<fs::path> {
    if (name.empty()) return std::nullopt;
    if (family.format != MovieLensFormat::recbole) return plain_or_gzip(folder / name);
    const fs::path stem = fs::path(name_without_gz(ratings)).stem();
    return plain_or_gzip(folder / (stem.string() + std::string(name)));
  };
  files.items = companion(family.items);
  files.users = companion(family.users);
  return files;
}

// By the ending of the name, so that "ratings_part1.dat.gz" works as well.
MovieLensFiles from_file(const fs::path& path) {
  const std::string ending = fs::path(name_without_gz(path)).extension().string();
  for (const Family& family : kFamilies)
    if (!ending.empty() && family.ratings.ends_with(ending)) return with_companions(family, path);
  fail<FileError>(
      "{}: not a ratings file by its name: expected .csv, .dat, .data or .inter, each "
      "also with .gz; unpack an archive and give its folder",
      path.string());
}

// Ratings files of a family in a folder: its proper name, else anything like "ratings*.dat".
std::vector<fs::path> ratings_in(const fs::path& folder, const Family& family) {
  if (family.format != MovieLensFormat::recbole)
    if (const auto exact = plain_or_gzip(folder / family.ratings)) return {*exact};
  std::vector<fs::path> found;
  const fs::path pattern(family.ratings);
  const std::string start =
      family.format == MovieLensFormat::recbole ? "" : pattern.stem().string();
  const std::string ending =
      family.format == MovieLensFormat::recbole ? pattern.string() : pattern.extension().string();
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = name_without_gz(entry.path());
    const bool gzip_twin = entry.path().filename() != name && fs::exists(folder / name);
    if (entry.is_regular_file() && name.starts_with(start) && name.ends_with(ending) && !gzip_twin)
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

MovieLensFiles from_folder(const fs::path& folder) {
  std::vector<MovieLensFiles> found;
  for (const Family& family : kFamilies)
    for (const fs::path& ratings : ratings_in(folder, family))
      found.push_back(with_companions(family, ratings));
  METTLE_CHECK(FileError, !found.empty(),
               "{}: no ratings in this folder: expected ratings.csv, ratings.dat, u.data or a "
               ".inter file, each also with .gz",
               folder.string());
  METTLE_CHECK(FileError, found.size() == 1,
               "{}: several ratings files, among them {} and {}: give the path of one",
               folder.string(), found.front().ratings.filename().string(),
               found.back().ratings.filename().string());
  return found.front();
}

}  // namespace

MovieLensFiles find_movielens_files(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  METTLE_CHECK(FileError, fs::exists(status), "{}: no such file or folder", path.string());
  try {
    return fs::is_directory(status) ? from_folder(path) : from_file(path);
  } catch (const fs::filesystem_error& e) {
    fail<FileError>("{}: {}", path.string(), e.code().message());
  }
}

Dataset load_movielens(const fs::path& path, const WorkHooks& hooks) {
  const MovieLensFiles files = find_movielens_files(path);
  const Tick tick = [&hooks] {
    if (hooks.interrupted && hooks.interrupted()) throw Interrupted(kReadingRatings);
  };
  const auto read = [&](const fs::path& file, auto parse) {
    return parse(files.format, read_text_file(file, tick), file.string());
  };
  const RatingTable ratings = read(files.ratings, [&](auto format, const auto& text, auto name) {
    return parse_ratings(format, text, std::move(name), hooks);
  });
  const ItemTable items = files.items ? read(*files.items, parse_items) : ItemTable{};
  const UserTable users = files.users ? read(*files.users, parse_users) : UserTable{};
  Dataset data = build_dataset(ratings, items, users, tick);
  data.name = fs::absolute(files.ratings).parent_path().filename().string();
  return data;
}

}  // namespace mettle
