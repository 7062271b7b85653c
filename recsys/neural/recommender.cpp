// Predictions of a trained recommender and their calibration.
#include "recsys/neural/recommender.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace mettle {
namespace {

// Weights that are finite may still give infinite sums, whose order is none.
void require_finite(const RawPredictions& predictions) {
  for (const std::vector<double>* values : {&predictions.like_logit, &predictions.stars})
    for (const double value : *values)
      METTLE_CHECK(ValueError, std::isfinite(value),
                   "recommender: a prediction is {}: the model's weights are damaged or have "
                   "diverged; train it again",
                   value);
}

}  // namespace

TrainedRecommender::TrainedRecommender(const NeuralConfiguration& configuration,
                                       std::shared_ptr<const FeatureTable> features,
                                       const Learned& learned)
    : configuration_(configuration),
      features_(std::move(features)),
      learned_{learned.weights.detached(), learned.adaptation.detached()},
      method_(make_method(configuration.method,
                          NeuralRecommender(features_->sizes(), configuration.model),
                          configuration.adaptation)) {}

void TrainedRecommender::calibrate(const Dataset& data, std::span<const Episode> validation,
                                   const WorkHooks& hooks) {
  Work work(hooks, "calibration", std::ssize(kSupportSizes) * prediction_batches(validation));
  const std::vector<std::uint8_t> likes = query_likes(data, validation);
  for (const int k : kSupportSizes) {
    const RawPredictions raw = predict_raw(*method_, learned_, data, *features_, validation, k,
                                           [&work] { work.advance(); });
    calibration_[k] = fit_platt(raw.like_logit, likes);
  }
}

// The calibration of the largest support size up to k.
double TrainedRecommender::like_probability(double logit, int k) const {
  const auto above = calibration_.upper_bound(k);
  if (above == calibration_.begin()) return 1.0 / (1.0 + std::exp(-logit));
  return std::prev(above)->second(logit);
}

QueryPredictions TrainedRecommender::predict(const Dataset& data, std::span<const Episode> episodes,
                                             int k, const Tick& tick) const {
  RawPredictions raw = predict_raw(*method_, learned_, data, *features_, episodes, k, tick);
  require_finite(raw);
  QueryPredictions out;
  for (std::size_t i = 0; i < raw.stars.size(); ++i) {
    out.like_probability.push_back(like_probability(raw.like_logit[i], k));
    out.stars.push_back(raw.stars[i] + features_->global_mean());
  }
  out.score = std::move(raw.like_logit);
  return out;
}

std::vector<ItemPrediction> TrainedRecommender::predict(const Dataset& data,
                                                        std::span<const ItemRating> support,
                                                        std::span<const std::int32_t> items) const {
  const auto check_item = [&](std::int32_t item) {
    METTLE_CHECK(ValueError, item >= 0 && item < data.item_count(),
                 "recommender: item number {} is not among the {} items", item, data.item_count());
  };
  for (const ItemRating& rating : support) check_item(rating.item);
  for (const std::int32_t item : items) check_item(item);
  const RawPredictions raw = predict_raw(*method_, learned_, *features_, support, items);
  require_finite(raw);
  std::vector<ItemPrediction> out;
  for (std::size_t i = 0; i < items.size(); ++i)
    out.push_back(
        {like_probability(raw.like_logit[i], static_cast<int>(support.size())),
         std::clamp(raw.stars[i] + features_->global_mean(), data.stars.low, data.stars.high)});
  return out;
}

void evaluate_recommender(const TrainedRecommender& recommender, const Dataset& data,
                          const ColdStartSplit& split, std::span<const int> support_sizes,
                          EvaluationTable& table, const WorkHooks& hooks) {
  const NeuralMethod method = recommender.configuration().method;
  const bool adapts = method != NeuralMethod::joint;
  Work work(hooks, fmt::format("{} evaluation", method_name(method)),
            (adapts ? std::ssize(support_sizes) : 1) * prediction_batches(split.test));
  const auto evaluate = [&](int k, std::optional<int> shown) {
    const QueryPredictions got =
        recommender.predict(data, split.test, k, [&work] { work.advance(); });
    table.add(method_name(method), shown, evaluate_episodes(data, split.test, split.seed, got));
  };
  if (!adapts) return evaluate(0, std::nullopt);
  for (const int k : support_sizes) evaluate(k, k);
}

}  // namespace mettle
