// Tasks for meta-training: each is one training user with some ratings as support and others as
// query.
#pragma once

#include <span>
#include <vector>

#include "autograd/variable.h"
#include "engine/random.h"
#include "recsys/cold_start.h"
#include "recsys/features.h"

namespace mettle {

/// One side of a batch of T tasks, n slots each. Slots without a rating have weight 0.
struct RatingBatch {
  FeatureBatch features;  // (T, n, ...)
  Variable like;          // (T, n) f32: 0 or 1
  Variable stars;         // (T, n) f32: stars minus the training users' mean
  Variable weight;        // (T, n) f32: 0 or 1

  RatingBatch to(Device device) const;
};

struct MetaBatch {
  RatingBatch support;
  RatingBatch query;

  MetaBatch to(Device device) const { return {support.to(device), query.to(device)}; }
};

struct MetaBatchOptions {
  int support = 10;  // slots
  int query = 20;
  std::vector<int> support_sizes = {0, 1, 3, 5, 10, 10};  // one is drawn for every task
};

/// Slots of tasks as tensors; `slots` holds T * n numbers of Dataset::ratings, -1 for an empty
/// slot.
RatingBatch rating_batch(const Dataset& data, const FeatureTable& features,
                         std::span<const std::int64_t> slots, std::int64_t tasks);

/// One task per user: ratings drawn without replacement, support and query disjoint.
MetaBatch sample_meta_batch(const Dataset& data, const FeatureTable& features,
                            std::span<const std::int32_t> users, const MetaBatchOptions& options,
                            Generator& generator);

/// Support (k slots, at least one) and query of evaluation episodes.
MetaBatch episode_batch(const Dataset& data, const FeatureTable& features,
                        std::span<const Episode> episodes, int k);

}  // namespace mettle
