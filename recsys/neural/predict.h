// A method's predictions for episodes, in batches, without recording.
#pragma once

#include <span>
#include <vector>

#include "recsys/baselines/baseline.h"
#include "recsys/neural/method.h"

namespace mettle {

/// Query item after query item, in the order of QueryPredictions.
struct RawPredictions {
  std::vector<double> like_logit;
  std::vector<double> stars;
};

/// Predictions for the query items of all episodes given the first k ratings of their support.
RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                           const FeatureTable& features, std::span<const Episode> episodes, int k);

/// The same for one new user's ratings and any items.
RawPredictions predict_raw(const FewShotMethod& method, const Learned& learned,
                           const FeatureTable& features, std::span<const ItemRating> support,
                           std::span<const std::int32_t> items);

/// Cross-entropy of the likes of the episodes' query items, mean over items and support sizes.
double like_loss(const FewShotMethod& method, const Learned& learned, const Dataset& data,
                 const FeatureTable& features, std::span<const Episode> episodes,
                 std::span<const int> support_sizes);

}  // namespace mettle
