// The classical recommenders that every table prints beside the neural one. Fitting is
// construction: a Baseline is always ready, immutable and safe to share between threads.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "recsys/cold_start.h"
#include "recsys/evaluation.h"
#include "recsys/work.h"

namespace mettle {

/// A rating by the user for whom a prediction is made.
struct ItemRating {
  std::int32_t item;  // index into Dataset::items
  double stars;
};

/// A fitted recommender for users that were not trained on.
class Baseline {
 public:
  virtual ~Baseline() = default;
  virtual std::string_view name() const = 0;
  /// Whether predictions depend on the support.
  virtual bool uses_support() const = 0;
  /// Whether predictions are stars; otherwise they are scores that only rank.
  virtual bool predicts_stars() const = 0;
  /// One prediction per item, given any number of the user's ratings.
  virtual std::vector<double> predict(std::span<const ItemRating> support,
                                      std::span<const std::int32_t> items) const = 0;
};
using FittedBaseline = std::shared_ptr<const Baseline>;

// Each trains on the ratings of split.train_users and chooses its hyper-parameters by squared error
// on split.validation; split.test is never looked at.
FittedBaseline fit_random(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_global_mean(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_user_mean(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_popularity(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_item_mean(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_shrunk_item_mean(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_item_mean_user_bias(const Dataset& data, const ColdStartSplit& split);
FittedBaseline fit_foldin_mf(const Dataset& data, const ColdStartSplit& split,
                             const WorkHooks& hooks = {});
FittedBaseline fit_foldin_mf_genre_prior(const Dataset& data, const ColdStartSplit& split,
                                         const WorkHooks& hooks = {});
FittedBaseline fit_hierarchical_linear(const Dataset& data, const ColdStartSplit& split,
                                       const WorkHooks& hooks = {});
/// The mean of two predictions of stars.
FittedBaseline blend(FittedBaseline a, FittedBaseline b);

/// All of the above, the blend being that of the last two.
std::vector<FittedBaseline> fit_baselines(const Dataset& data, const ColdStartSplit& split);

/// Ratings of an episode as a method sees them.
std::vector<ItemRating> support_ratings(const Dataset& data, const Episode& episode, int k);
std::vector<std::int32_t> query_items(const Dataset& data, const Episode& episode);

/// Predictions for all query items of all episodes at support size k, in order.
std::vector<double> predict_queries(const Baseline& baseline, const Dataset& data,
                                    std::span<const Episode> episodes, int k);

/// Predictions for the test episodes with like probabilities by Platt scaling on the validation
/// episodes at the same k, and stars (a line fitted there for methods that only rank).
QueryPredictions predict_test(const Baseline& baseline, const Dataset& data,
                              const ColdStartSplit& split, int k);

/// Evaluates on split.test and adds to the table: at every support size, or once without k for a
/// method that ignores the support.
void evaluate_baseline(const Baseline& baseline, const Dataset& data, const ColdStartSplit& split,
                       std::span<const int> support_sizes, EvaluationTable& table,
                       const WorkHooks& hooks = {});

}  // namespace mettle
