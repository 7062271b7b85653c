// Joins ratings, movies and users into one Dataset with a canonical order.
#include <algorithm>
#include <charconv>
#include <numeric>
#include <unordered_map>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/text_table.h"

namespace mettle {
namespace {

constexpr std::size_t kRowsBetweenTicks = std::size_t{1} << 16;

std::optional<std::int64_t> integer_id(std::string_view id) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), value);
  if (error != std::errc() || end != id.data() + id.size()) return std::nullopt;
  return value;
}

// The order of `ids`: by value where all are integers (equal values by bytes), else by bytes.
std::vector<std::int32_t> id_order(const std::vector<std::string>& ids) {
  std::vector<std::int64_t> values(ids.size(), 0);
  bool all_integers = true;
  for (std::size_t i = 0; i < ids.size() && all_integers; ++i) {
    const auto value = integer_id(ids[i]);
    all_integers = value.has_value();
    values[i] = value.value_or(0);
  }
  if (!all_integers) std::fill(values.begin(), values.end(), 0);
  std::vector<std::int32_t> order(ids.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
    return values[i] != values[j] ? values[i] < values[j] : ids[i] < ids[j];
  });
  return order;
}

std::vector<std::int32_t> inverse(const std::vector<std::int32_t>& order) {
  std::vector<std::int32_t> rank(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    rank[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i);
  return rank;
}

// The number whose rank this is.
std::int32_t number_of(const std::vector<std::int32_t>& ranks, std::int32_t rank) {
  return static_cast<std::int32_t>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

std::vector<std::string> sorted_unique(std::vector<std::string> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::int32_t index_in(const std::vector<std::string>& sorted, const std::string& value) {
  return static_cast<std::int32_t>(std::lower_bound(sorted.begin(), sorted.end(), value) -
                                   sorted.begin());
}

void add_genres(Dataset& data, const std::vector<const ItemTable::Row*>& rows) {
  std::vector<std::string> all;
  for (const auto* row : rows)
    if (row) all.insert(all.end(), row->genres.begin(), row->genres.end());
  data.genres = sorted_unique(std::move(all));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i]) continue;
    auto& genres = data.items[i].genres;
    for (const std::string& genre : rows[i]->genres) genres.push_back(index_in(data.genres, genre));
    std::sort(genres.begin(), genres.end());
    genres.erase(std::unique(genres.begin(), genres.end()), genres.end());
  }
}

// Fills data.items and data.genres; returns the index of each item of the ratings table.
std::vector<std::int32_t> add_items(Dataset& data, const RatingTable& ratings,
                                    const ItemTable& items) {
  std::unordered_map<std::string_view, const ItemTable::Row*> row_of;
  for (const ItemTable::Row& row : items.rows) row_of.emplace(row.id, &row);
  std::vector<std::string> ids = ratings.items;
  {
    std::unordered_map<std::string_view, bool> rated;
    for (const std::string& id : ratings.items) rated.emplace(id, true);
    for (const ItemTable::Row& row : items.rows)
      if (!rated.contains(row.id)) ids.push_back(row.id);
  }
  const std::vector<std::int32_t> order = id_order(ids);
  std::vector<const ItemTable::Row*> rows;
  for (const std::int32_t from : order) {
    Item item;
    item.id = ids[static_cast<std::size_t>(from)];
    const auto found = row_of.find(item.id);
    rows.push_back(found == row_of.end() ? nullptr : found->second);
    if (rows.back()) {
      item.title = rows.back()->title;
      item.year = rows.back()->year;
    }
    data.items.push_back(std::move(item));
  }
  add_genres(data, rows);
  return inverse(order);
}

// Fills data.user_ids and data.user_fields; returns the index of each user of the ratings table.
std::vector<std::int32_t> add_users(Dataset& data, const RatingTable& ratings,
                                    const UserTable& users) {
  const std::vector<std::int32_t> order = id_order(ratings.users);
  for (const std::int32_t from : order)
    data.user_ids.push_back(ratings.users[static_cast<std::size_t>(from)]);
  std::unordered_map<std::string_view, const UserTable::Row*> row_of;
  for (const UserTable::Row& row : users.rows) row_of.emplace(row.id, &row);
  for (std::size_t f = 0; f < users.fields.size(); ++f) {
    const auto value_of = [&](const std::string& id) -> std::string {
      const auto found = row_of.find(id);
      return found == row_of.end() ? std::string() : found->second->values[f];
    };
    std::vector<std::string> known;
    for (const std::string& id : data.user_ids)
      if (!value_of(id).empty()) known.push_back(value_of(id));
    UserField field{users.fields[f], sorted_unique(std::move(known)), {}};
    for (const std::string& id : data.user_ids) {
      const std::string value = value_of(id);
      field.value.push_back(value.empty() ? -1 : index_in(field.vocabulary, value));
    }
    data.user_fields.push_back(std::move(field));
  }
  return inverse(order);
}

[[noreturn]] void fail_rated_twice(const RatingTable& table, std::int32_t user, std::int32_t item) {
  std::vector<std::int64_t> lines;
  for (const RatingTable::Row& row : table.rows)
    if (row.user == user && row.item == item) lines.push_back(row.line);
  fail<FileError>("{}:{}:1: user {} has already rated item {} in line {}", table.name, lines.at(1),
                  printable(table.users[static_cast<std::size_t>(user)]),
                  printable(table.items[static_cast<std::size_t>(item)]), lines.at(0));
}

// Counts, then places: users in order, each with its ratings as they came; then sorts each user's.
void add_ratings(Dataset& data, const RatingTable& table,
                 const std::vector<std::int32_t>& user_rank,
                 const std::vector<std::int32_t>& item_rank, const Tick& tick) {
  const auto rank = [](const std::vector<std::int32_t>& ranks, std::int32_t number) {
    return ranks[static_cast<std::size_t>(number)];
  };
  const auto each_row = [&](const auto& body) {
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      body(table.rows[i]);
      if (tick && i % kRowsBetweenTicks == 0) tick();
    }
  };
  data.user_begin.assign(data.user_ids.size() + 1, 0);
  data.stars.low = 1.0;
  each_row([&](const RatingTable::Row& row) {
    if (row.stars < 1.0) data.stars.low = 0.5;
    ++data.user_begin[static_cast<std::size_t>(rank(user_rank, row.user)) + 1];
  });
  std::partial_sum(data.user_begin.begin(), data.user_begin.end(), data.user_begin.begin());
  std::vector<std::int64_t> next = data.user_begin;
  data.ratings.resize(table.rows.size());
  each_row([&](const RatingTable::Row& row) {
    const std::int32_t user = rank(user_rank, row.user);
    data.ratings[static_cast<std::size_t>(next[static_cast<std::size_t>(user)]++)] = {
        user, rank(item_rank, row.item), row.stars, row.timestamp};
  });
  for (std::size_t u = 0; u < data.user_ids.size(); ++u) {
    const auto begin = data.ratings.begin() + data.user_begin[u];
    const auto end = data.ratings.begin() + data.user_begin[u + 1];
    std::sort(begin, end, [](const Rating& a, const Rating& b) { return a.item < b.item; });
    const auto twice = std::adjacent_find(
        begin, end, [](const Rating& a, const Rating& b) { return a.item == b.item; });
    if (twice != end)
      fail_rated_twice(table, number_of(user_rank, twice->user), number_of(item_rank, twice->item));
    if (tick) tick();
  }
}

}  // namespace

Dataset build_dataset(const RatingTable& ratings, const ItemTable& items, const UserTable& users,
                      const Tick& tick) {
  Dataset data;
  data.has_timestamps = ratings.has_timestamps;
  const std::vector<std::int32_t> item_rank = add_items(data, ratings, items);
  const std::vector<std::int32_t> user_rank = add_users(data, ratings, users);
  add_ratings(data, ratings, user_rank, item_rank, tick);
  return data;
}

}  // namespace mettle
