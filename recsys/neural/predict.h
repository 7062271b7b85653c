// A method's predictions for episodes, in batches, without recording.
#pragma once

#include <span>
#include <vector>

#include "recsys/baselines/baseline.h"
#include "recsys/neural/method.h"
#include "recsys/work.h"

namespace mettle {

/// Query item after query item, in the order of QueryPredictions.
struct RawPredictions {
  std::vector<double> like_logit;
  std::vector<double> stars;
};

/// Batches that predict_raw and like_loss work through for every support size.
std::int64_t prediction_batches(std::span<const Episode> episodes);

/// Predictions for the query items of all episodes given the first k ratings of their support.
/// `tick` is called after every batch.
RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                           const FeatureTable& features, std::span<const Episode> episodes, int k,
                           const Tick& tick = {});

/// The same for one new user's ratings and any items.
RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned,
                           const FeatureTable& features, std::span<const ItemRating> support,
                           std::span<const std::int32_t> items);

/// Cross-entropy of the likes of the episodes' query items, mean over items and support sizes.
/// `tick` as above.
double like_loss(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                 const FeatureTable& features, std::span<const Episode> episodes,
                 std::span<const int> support_sizes, const Tick& tick = {});

}  // namespace mettle
