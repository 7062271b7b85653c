// The one data set type of the recommender: users, items and explicit ratings, read from any of the
// MovieLens formats (movielens.h). Plain data, dense indices, original ids kept as text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mettle {

/// A rating of at least this many stars counts as "like" (a positive of the click task).
inline constexpr double kLikeThreshold = 4.0;
inline bool is_like(double stars) { return stars >= kLikeThreshold; }

/// One explicit rating. `user` and `item` index Dataset::user_ids and Dataset::items.
struct Rating {
  std::int32_t user;
  std::int32_t item;
  double stars;
  std::int64_t timestamp;  // seconds since 1970, 0 where the file has none
};

/// One movie. Title and year are empty where the files do not tell.
struct Item {
  std::string id;                    // as written in the file
  std::string title;                 // UTF-8, without the year
  std::optional<int> year;           // of release
  std::vector<std::int32_t> genres;  // ascending indices into Dataset::genres
};

/// One categorical fact about every user, such as gender or occupation.
struct UserField {
  std::string name;
  std::vector<std::string> vocabulary;  // ascending
  std::vector<std::int32_t> value;      // (users): index into vocabulary, -1 where unknown
};

/// Stars lie in [low, high]: 0.5..5 where half stars below 1 occur, else 1..5.
struct StarRange {
  double low = 1.0;
  double high = 5.0;
};

/// Users and items are numbered by ascending id (by value where all ids are integers, else by
/// bytes), ratings are ordered by user and then item: the same facts give the same Dataset whatever
/// the order of lines in the files. Every user has at least one rating; an item may have none.
struct Dataset {
  std::string name;
  std::vector<std::string> user_ids;
  std::vector<Item> items;
  std::vector<std::string> genres;  // ascending
  std::vector<Rating> ratings;
  std::vector<std::int64_t> user_begin;  // (users + 1): ratings of u are [begin[u], begin[u + 1])
  std::vector<UserField> user_fields;
  StarRange stars;
  bool has_timestamps = false;

  std::int32_t user_count() const { return static_cast<std::int32_t>(user_ids.size()); }
  std::int32_t item_count() const { return static_cast<std::int32_t>(items.size()); }
  std::span<const Rating> ratings_of(std::int32_t user) const;
  std::optional<std::int32_t> find_user(std::string_view id) const;
  std::optional<std::int32_t> find_item(std::string_view id) const;
};

/// Release year of every item, unknown ones replaced by the median of the known (2000 if none is).
std::vector<double> item_years(const Dataset& data);

}  // namespace mettle
