// Joins ratings, movies and users into one Dataset with a canonical order.
#include <algorithm>
#include <charconv>
#include <numeric>
#include <tuple>
#include <unordered_map>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/text_table.h"

namespace mettle {
namespace {

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

void add_ratings(Dataset& data, const RatingTable& table,
                 const std::vector<std::int32_t>& user_rank,
                 const std::vector<std::int32_t>& item_rank) {
  std::vector<RatingTable::Row> rows = table.rows;
  for (RatingTable::Row& row : rows) {
    row.user = user_rank[static_cast<std::size_t>(row.user)];
    row.item = item_rank[static_cast<std::size_t>(row.item)];
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.user, a.item, a.line) < std::tie(b.user, b.item, b.line);
  });
  data.user_begin.assign(data.user_ids.size() + 1, 0);
  data.stars.low = 1.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const RatingTable::Row& row = rows[i];
    if (i > 0 && rows[i - 1].user == row.user && rows[i - 1].item == row.item)
      fail<FileError>("{}:{}:1: user {} has already rated item {} in line {}", table.name, row.line,
                      printable(data.user_ids[static_cast<std::size_t>(row.user)]),
                      printable(data.items[static_cast<std::size_t>(row.item)].id),
                      rows[i - 1].line);
    if (row.stars < 1.0) data.stars.low = 0.5;
    data.ratings.push_back({row.user, row.item, row.stars, row.timestamp});
    ++data.user_begin[static_cast<std::size_t>(row.user) + 1];
  }
  std::partial_sum(data.user_begin.begin(), data.user_begin.end(), data.user_begin.begin());
}

}  // namespace

Dataset build_dataset(const RatingTable& ratings, const ItemTable& items, const UserTable& users) {
  Dataset data;
  data.has_timestamps = ratings.has_timestamps;
  const std::vector<std::int32_t> item_rank = add_items(data, ratings, items);
  const std::vector<std::int32_t> user_rank = add_users(data, ratings, users);
  add_ratings(data, ratings, user_rank, item_rank);
  return data;
}

}  // namespace mettle
