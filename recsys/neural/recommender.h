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
#include "recsys/neural/configuration.h"
#include "recsys/neural/predict.h"

namespace mettle {

struct RecommenderFile;
struct TensorFile;

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
  void calibrate(const Dataset& data, std::span<const Episode> validation,
                 const WorkHooks& hooks = {});

  /// For query items of episodes at support size k. ValueError when a prediction is not finite.
  /// `tick` as in predict_raw().
  QueryPredictions predict(const Dataset& data, std::span<const Episode> episodes, int k,
                           const Tick& tick = {}) const;
  /// For any items, given a new user's ratings. ValueError for unknown items, no items
  /// and a prediction that is not finite.
  std::vector<ItemPrediction> predict(const Dataset& data, std::span<const ItemRating> support,
                                      std::span<const std::int32_t> items) const;

  /// Predicts on another device from here on.
  void move_to(Device device) { learned_ = learned_.to(device); }

  const NeuralConfiguration& configuration() const { return configuration_; }
  const FeatureTable& features() const { return *features_; }
  const Learned& learned() const { return learned_; }
  const FewShotMethod& method() const { return *method_; }

  /// One safetensors file: weights, item features for new users, and in the metadata the
  /// configuration, sizes and calibration. FileError when it cannot be written.
  void save(const Dataset& data, const std::filesystem::path& path) const;
  /// What save() writes.
  TensorFile to_file(const Dataset& data) const;
  /// FileError when the file is damaged, is no recommender, or was trained on other items than
  /// those of `data`. Memory is bounded by the sizes of the file and of the data, whatever the file
  /// says of itself.
  static TrainedRecommender load(const Dataset& data, const std::filesystem::path& path);
  /// The same from a file that was read; `name` begins the error messages.
  static TrainedRecommender from_file(const Dataset& data, const RecommenderFile& file,
                                      std::string_view name);

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
                          EvaluationTable& table, const WorkHooks& hooks = {});

}  // namespace mettle
