// Look-ups of Dataset.
#include "recsys/dataset.h"

#include <algorithm>

namespace mettle {

std::span<const Rating> Dataset::ratings_of(std::int32_t user) const {
  const auto u = static_cast<std::size_t>(user);
  return std::span(ratings).subspan(static_cast<std::size_t>(user_begin[u]),
                                    static_cast<std::size_t>(user_begin[u + 1] - user_begin[u]));
}

std::optional<std::int32_t> Dataset::find_user(std::string_view id) const {
  const auto found = std::find(user_ids.begin(), user_ids.end(), id);
  if (found == user_ids.end()) return std::nullopt;
  return static_cast<std::int32_t>(found - user_ids.begin());
}

std::optional<std::int32_t> Dataset::find_item(std::string_view id) const {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.id == id; });
  if (found == items.end()) return std::nullopt;
  return static_cast<std::int32_t>(found - items.begin());
}

std::vector<double> item_years(const Dataset& data) {
  std::vector<double> known;
  for (const Item& item : data.items)
    if (item.year) known.push_back(*item.year);
  double median = 2000.0;
  if (!known.empty()) {
    const auto middle = known.begin() + static_cast<std::ptrdiff_t>(known.size() / 2);
    std::nth_element(known.begin(), middle, known.end());
    median = *middle;
  }
  std::vector<double> years;
  years.reserve(data.items.size());
  for (const Item& item : data.items) years.push_back(item.year ? *item.year : median);
  return years;
}

}  // namespace mettle
