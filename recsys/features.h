// What the neural recommender sees of an item: genres, year of release, title words, statistics and
// latent factors of the training users' ratings. Everything that comes from ratings is out of fold:
// the rows of a training user come from users of the other folds, so that no label leaks into its
// own features.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/variable.h"
#include "recsys/dataset.h"
#include "recsys/work.h"

namespace mettle {

struct FeatureOptions {
  int folds = 5;              // of training users
  double shrinkage = 3.0;     // of item means, in ratings
  int factors = 8;            // latent factors of the item; 0 leaves them out
  int max_title_words = 128;  // the most frequent words of titles; 0 leaves them out
  int min_word_count = 5;     // titles in which a word must occur
  bool item_ids = false;      // a learned vector per item: overfits on small data
  int min_id_ratings = 5;     // items with fewer ratings share one vector
  std::uint64_t seed = 0;     // of the folds and the factorisation
};

/// Sizes that the model's parameters depend on. Stored in the model file.
struct FeatureSizes {
  int numeric = 0;  // numbers per row
  int factors = 0;
  int genres = 0;
  int words = 0;
  int years = 0;  // buckets of five years
  int ids = 0;    // rows of the id table, 0 without ids

  bool operator==(const FeatureSizes&) const = default;
};

/// Facts of a list of (user, item) rows, shape (..., width) each; null where the sizes say 0.
struct FeatureBatch {
  Variable numeric;
  Variable factors;
  Variable genres;  // 1 / sqrt(number of genres) where the item has the genre
  Variable words;   // 1 / sqrt(number of words) where the title has the word
  Variable years;   // i64 (...): bucket
  Variable ids;     // i64 (...)

  FeatureBatch to(Device device) const;
};

class FeatureTable {
 public:
  /// Fits the statistics to the ratings of the training users. ValueError as
  /// out_of_fold_statistics.
  FeatureTable(const Dataset& data, std::span<const std::int32_t> train_users,
               const FeatureOptions& options, const WorkHooks& hooks = {});
  /// The table of a saved model, for users outside of its training data: what new_user_numeric(),
  /// new_user_factors() and item_ids() gave. ShapeError when they do not fit the data.
  FeatureTable(const Dataset& data, const FeatureOptions& options, double global_mean,
               const Tensor& numeric, const Tensor& factors, const Tensor& ids);

  const FeatureSizes& sizes() const { return sizes_; }
  double global_mean() const { return global_mean_; }

  /// The number of the row that describes `item` to `user`; user -1 is somebody new.
  std::int64_t row(std::int32_t user, std::int32_t item) const;
  /// Gathers rows into tensors of shape `shape` + (width,). ShapeError when the counts differ.
  FeatureBatch gather(std::span<const std::int64_t> rows, const Shape& shape) const;

  /// The rows of somebody new, one per item: (items, width) f32, and the id of each item (items)
  /// i64. What a model file keeps.
  Tensor new_user_numeric() const;
  Tensor new_user_factors() const;
  Tensor item_ids() const;

 private:
  void describe_items(const Dataset& data);
  void fit_statistics(const Dataset& data, std::span<const std::int32_t> train_users);
  void fit_factors(const Dataset& data, std::span<const std::int32_t> train_users,
                   const WorkHooks& hooks);

  FeatureOptions options_;
  FeatureSizes sizes_;
  double global_mean_ = 0.0;
  std::int64_t items_ = 0;
  std::vector<std::int32_t> fold_of_user_;  // -1: the table of all training users
  std::vector<float> numeric_;              // (folds + 1, items, numeric); the last table is of all
  std::vector<float> factors_;              // (folds + 1, items, factors)
  std::vector<float> genres_;               // (items, genres)
  std::vector<float> words_;                // (items, words)
  std::vector<std::int64_t> years_;         // (items)
  std::vector<std::int64_t> ids_;           // (items); 0 is the shared vector
};

/// Lower-case runs of letters and digits of a title, without the commonest English function words.
std::vector<std::string> title_words(std::string_view title);

}  // namespace mettle
