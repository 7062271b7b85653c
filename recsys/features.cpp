// Feature tables: one row per item and fold, gathered into tensors batch by batch.
#include "recsys/features.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>

#include "autograd/ops.h"
#include "recsys/baselines/variational_mf.h"
#include "recsys/item_statistics.h"
#include "recsys/polar.h"

namespace mettle {
namespace {

constexpr int numeric_width = 4;
constexpr int year_buckets = 23;
constexpr int first_year = 1910;
constexpr int years_per_bucket = 5;

/// shrunk mean, shrunk like rate, log count, and the mean weighted by the count: about unit
/// variance each.
std::array<double, numeric_width> describe(const ItemStatistics& s, std::size_t item, double mean,
                                           double like_rate) {
  const double quality = (s.mean[item] - mean) / 0.4;
  const double likes = (s.like_rate[item] - like_rate) / 0.2;
  const double popularity = (std::log1p(s.count[item]) - 2.5) / 1.2;
  return {quality, likes, popularity, quality * popularity};
}

/// Rows of `table` (items, width) as one tensor of shape `shape` + (width,).
template <class T>
Variable gather_rows(const std::vector<T>& table, std::int64_t width,
                     std::span<const std::int64_t> rows, Shape shape, bool add_axis) {
  if (add_axis) shape.push_back(width);
  const Tensor out = Tensor::empty(shape, dtype_of<T>);
  T* to = out.data<T>();
  for (const std::int64_t row : rows) {
    std::copy_n(table.data() + row * width, width, to);
    to += width;
  }
  return Variable(out);
}

Tensor last_rows(const std::vector<float>& table, std::int64_t items, std::int64_t width) {
  const std::span<const float> all(table);
  return Tensor::from(all.last(static_cast<std::size_t>(items * width)), {items, width});
}

}  // namespace

std::vector<std::string> title_words(std::string_view title) {
  static constexpr std::array<std::string_view, 16> common{"the", "of", "a",   "and", "in", "to",
                                                           "an",  "at", "on",  "for", "la", "le",
                                                           "de",  "s",  "aka", "from"};
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty() && std::find(common.begin(), common.end(), word) == common.end())
      words.push_back(word);
    word.clear();
  };
  for (const char c : title) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool other =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 128;
    if (upper) {
      word += static_cast<char>(c - 'A' + 'a');
    } else if (other) {
      word += c;
    } else {
      finish();
    }
  }
  finish();
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

FeatureTable::FeatureTable(const Dataset& data, std::span<const std::int32_t> train_users,
                           const FeatureOptions& options, const WorkHooks& hooks)
    : options_(options), items_(data.item_count()) {
  METTLE_CHECK(ValueError, options.factors >= 0 && options.max_title_words >= 0,
               "features: {} factors and {} title words: neither may be negative", options.factors,
               options.max_title_words);
  describe_items(data);
  fit_statistics(data, train_users);
  fit_factors(data, train_users, hooks);
}

FeatureTable::FeatureTable(const Dataset& data, const FeatureOptions& options, double global_mean,
                           const Tensor& numeric, const Tensor& factors, const Tensor& ids)
    : options_(options), global_mean_(global_mean), items_(data.item_count()) {
  options_.folds = 0;
  describe_items(data);
  const auto check_rows = [&](const char* name, const Tensor& table, const Shape& wanted) {
    METTLE_CHECK(ShapeError, table.shape() == wanted,
                 "features: the model's table of {} has shape {}, this data set needs {}; evaluate "
                 "a model on "
                 "the data set it was trained on",
                 name, to_string(table.shape()), to_string(wanted));
  };
  check_rows("statistics", numeric, {items_, numeric_width});
  check_rows("factors", factors, {items_, options.factors});
  check_rows("ids", ids, {items_});
  sizes_.numeric = numeric_width;
  sizes_.factors = options.factors;
  numeric_ = numeric.to_vector<float>();
  factors_ = factors.to_vector<float>();
  ids_ = ids.to_vector<std::int64_t>();
  if (options.item_ids && items_ > 0)
    sizes_.ids = static_cast<int>(*std::max_element(ids_.begin(), ids_.end())) + 1;
  fold_of_user_.assign(static_cast<std::size_t>(data.user_count()), -1);
}

void FeatureTable::describe_items(const Dataset& data) {
  sizes_.genres = static_cast<int>(data.genres.size());
  sizes_.years = year_buckets;
  genres_.assign(static_cast<std::size_t>(items_ * sizes_.genres), 0.0f);
  const std::vector<double> years = item_years(data);
  std::map<std::string, int> counts;
  std::vector<std::vector<std::string>> words;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    const Item& item = data.items[i];
    const auto share = static_cast<float>(
        1.0 / std::sqrt(std::max<double>(1.0, static_cast<double>(item.genres.size()))));
    for (const std::int32_t genre : item.genres)
      genres_[i * data.genres.size() + static_cast<std::size_t>(genre)] = share;
    const int bucket = (static_cast<int>(years[i]) - first_year) / years_per_bucket;
    years_.push_back(std::clamp(bucket, 0, year_buckets - 1));
    words.push_back(title_words(item.title));
    for (const std::string& word : words.back()) ++counts[word];
  }
  // The most frequent words, ties in alphabetical order.
  std::vector<std::pair<int, std::string>> ranked;
  for (const auto& [word, count] : counts)
    if (count >= options_.min_word_count) ranked.emplace_back(-count, word);
  std::sort(ranked.begin(), ranked.end());
  ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(options_.max_title_words)));
  std::map<std::string, std::size_t> vocabulary;
  for (const auto& entry : ranked) vocabulary.emplace(entry.second, vocabulary.size());
  sizes_.words = static_cast<int>(vocabulary.size());
  words_.assign(words.size() * vocabulary.size(), 0.0f);
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::vector<std::size_t> known;
    for (const std::string& word : words[i])
      if (const auto found = vocabulary.find(word); found != vocabulary.end())
        known.push_back(found->second);
    for (const std::size_t word : known)
      words_[i * vocabulary.size() + word] =
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(known.size())));
  }
}

void FeatureTable::fit_statistics(const Dataset& data, std::span<const std::int32_t> train_users) {
  const OutOfFoldStatistics statistics = out_of_fold_statistics(
      data, train_users,
      {.folds = options_.folds, .shrinkage = options_.shrinkage, .seed = options_.seed});
  global_mean_ = statistics.global_mean;
  fold_of_user_ = statistics.fold_of_user;
  sizes_.numeric = numeric_width;
  const auto append = [&](const ItemStatistics& s) {
    for (std::int64_t i = 0; i < items_; ++i)
      for (const double value : describe(s, static_cast<std::size_t>(i), statistics.global_mean,
                                         statistics.global_like_rate))
        numeric_.push_back(static_cast<float>(value));
  };
  for (const ItemStatistics& fold : statistics.without_fold) append(fold);
  append(statistics.all);
  std::int64_t next_id = 1;
  for (std::int64_t i = 0; i < items_; ++i)
    ids_.push_back(statistics.all.count[static_cast<std::size_t>(i)] >= options_.min_id_ratings
                       ? next_id++
                       : 0);
  sizes_.ids = options_.item_ids ? static_cast<int>(next_id) : 0;
}

// Factorises the ratings once without each fold and once of all users. Factors are defined up to a
// rotation, so every fold's are turned onto those of all users, fitted on the items with enough
// ratings.
void FeatureTable::fit_factors(const Dataset& data, std::span<const std::int32_t> train_users,
                               const WorkHooks& hooks) {
  const auto width = static_cast<std::size_t>(options_.factors);
  sizes_.factors = options_.factors;
  if (width == 0) return;
  const VariationalMfOptions mf{.factors = options_.factors,
                                .factor_variance = 0.05,
                                .genre_prior = true,
                                .iterations = 12,
                                .seed = options_.seed};
  Work work(hooks, "feature table", (1 + options_.folds) * mf.iterations);
  const auto factorise = [&](std::span<const std::int32_t> users) {
    const VariationalMf model(data, users, mf, [&work] { work.advance(); });
    std::vector<double> out;
    for (std::int32_t i = 0; i < data.item_count(); ++i) {
      const std::span<const double> row = model.item_factors(i);
      out.insert(out.end(), row.begin(), row.end());
    }
    return out;
  };
  const ItemSums sums = item_sums(data, train_users);
  const std::vector<double> all = factorise(train_users);
  double squares = 0.0, count = 0.0;
  for (std::size_t i = 0; i < sums.count.size(); ++i) {
    if (sums.count[i] < 5) continue;
    for (std::size_t f = 0; f < width; ++f) squares += all[i * width + f] * all[i * width + f];
    count += static_cast<double>(width);
  }
  const double scale = squares > 0.0 ? std::sqrt(count / squares) : 1.0;
  const auto append = [&](const std::vector<double>& factors, const std::vector<double>& rotation) {
    for (std::size_t i = 0; i < sums.count.size(); ++i)
      for (std::size_t to = 0; to < width; ++to) {
        double value = 0.0;
        for (std::size_t from = 0; from < width; ++from)
          value += factors[i * width + from] * rotation[from * width + to];
        factors_.push_back(static_cast<float>(value * scale));
      }
  };
  for (int fold = 0; fold < options_.folds; ++fold) {
    std::vector<std::int32_t> others;
    for (const std::int32_t user : train_users)
      if (fold_of_user_[static_cast<std::size_t>(user)] != fold) others.push_back(user);
    const std::vector<double> factors = factorise(others);
    std::vector<double> cross(width * width, 0.0);
    for (std::size_t i = 0; i < sums.count.size(); ++i) {
      if (sums.count[i] < 5) continue;
      for (std::size_t a = 0; a < width; ++a)
        for (std::size_t b = 0; b < width; ++b)
          cross[a * width + b] += factors[i * width + a] * all[i * width + b];
    }
    append(factors, polar_rotation(std::move(cross), width));
  }
  std::vector<double> unturned(width * width, 0.0);
  for (std::size_t f = 0; f < width; ++f) unturned[f * width + f] = 1.0;
  append(all, unturned);
}

std::int64_t FeatureTable::row(std::int32_t user, std::int32_t item) const {
  const std::int32_t fold = user < 0 ? -1 : fold_of_user_[static_cast<std::size_t>(user)];
  return (fold < 0 ? options_.folds : fold) * items_ + item;
}

FeatureBatch FeatureTable::gather(std::span<const std::int64_t> rows, const Shape& shape) const {
  METTLE_CHECK(ShapeError, numel(shape) == static_cast<std::int64_t>(rows.size()),
               "features: {} rows do not fill shape {}", rows.size(), to_string(shape));
  std::vector<std::int64_t> items(rows.begin(), rows.end());
  for (std::int64_t& item : items) item %= items_;
  FeatureBatch batch;
  batch.numeric = gather_rows(numeric_, sizes_.numeric, rows, shape, true);
  if (sizes_.factors > 0) batch.factors = gather_rows(factors_, sizes_.factors, rows, shape, true);
  if (sizes_.genres > 0) batch.genres = gather_rows(genres_, sizes_.genres, items, shape, true);
  if (sizes_.words > 0) batch.words = gather_rows(words_, sizes_.words, items, shape, true);
  batch.years = gather_rows(years_, 1, items, shape, false);
  if (sizes_.ids > 0) batch.ids = gather_rows(ids_, 1, items, shape, false);
  return batch;
}

FeatureBatch FeatureBatch::to(Device device) const {
  const auto moved = [&](const Variable& v) { return v ? mettle::to(v, device) : v; };
  return {moved(numeric), moved(factors), moved(genres), moved(words), moved(years), moved(ids)};
}

Tensor FeatureTable::new_user_numeric() const {
  return last_rows(numeric_, items_, sizes_.numeric);
}

Tensor FeatureTable::new_user_factors() const {
  return last_rows(factors_, items_, sizes_.factors);
}

Tensor FeatureTable::item_ids() const { return Tensor::from(ids_, {items_}); }

}  // namespace mettle
