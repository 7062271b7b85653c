// A trained recommender: everything needed to predict for a new user, in memory and as one file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "recsys/baselines/baseline.h"
#include "recsys/calibration.h"
#include "recsys/evaluation.h"
#include "recsys/neural/method.h"
#include "recsys/neural/predict.h"

namespace mettle {

/// What a recommender is made from; kept in its file.
struct NeuralConfiguration {
  NeuralMethod method = NeuralMethod::maml;
  FeatureOptions features;
  NeuralOptions model;
  AdaptationOptions adaptation;
  std::uint64_t seed = 0;
};

/// Said of one item to one user.
struct ItemPrediction {
  double like_probability;
  double stars;  // within the data's range
};

class TrainedRecommender {
 public:
  TrainedRecommender(const NeuralConfiguration& configuration,
                     std::shared_ptr<const FeatureTable> features, const Learned& learned);

  /// Fits the map from like logits to probabilities at every support size of kSupportSizes.
  void calibrate(const Dataset& data, std::span<const Episode> validation);

  /// For query items of episodes at support size k.
  QueryPredictions predict(const Dataset& data, std::span<const Episode> episodes, int k) const;
  /// For any items, given a new user's ratings. ValueError for unknown items and no items.
  std::vector<ItemPrediction> predict(const Dataset& data, std::span<const ItemRating> support,
                                      std::span<const std::int32_t> items) const;

  const NeuralConfiguration& configuration() const { return configuration_; }
  const FeatureTable& features() const { return *features_; }
  const Learned& learned() const { return learned_; }
  const FewShotMethod& method() const { return *method_; }

  /// One safetensors file: weights, item features for new users, and in the metadata the
  /// configuration, sizes and calibration. FileError when it cannot be written.
  void save(const Dataset& data, const std::filesystem::path& path) const;
  /// FileError when the file is damaged, is no recommender, or was trained on other items than
  /// those of `data`.
  static TrainedRecommender load(const Dataset& data, const std::filesystem::path& path);

 private:
  double like_probability(double logit, int k) const;

  NeuralConfiguration configuration_;
  std::shared_ptr<const FeatureTable> features_;
  Learned learned_;
  std::shared_ptr<const FewShotMethod> method_;
  std::map<int, PlattScale> calibration_;  // by support size; empty: plain logits
};

/// Evaluates on split.test and adds a row to the table for each support size, under the method's
/// name; once without k for the method that ignores the support.
void evaluate_recommender(const TrainedRecommender& recommender, const Dataset& data,
                          const ColdStartSplit& split, std::span<const int> support_sizes,
                          EvaluationTable& table);

}  // namespace mettle
