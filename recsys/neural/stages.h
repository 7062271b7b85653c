// The two stages of training: joint on all ratings, then meta-training on few-shot tasks.
#pragma once

#include <vector>

#include "recsys/neural/trainer.h"

namespace mettle {

struct JointOptions {
  int batch = 1024;  // ratings
  TrainerOptions trainer = {.epochs = 4, .learning_rate = 2e-3};
};

/// Every training rating once per epoch. The user's own bias, known from all of the user's ratings,
/// is added to the stars and, times a learned slope, to the logit: the model learns how a user's
/// items differ, not how users differ.
class JointStage final : public TrainingStage {
 public:
  JointStage(const Dataset& data, const ColdStartSplit& split, const FeatureTable& features,
             const NeuralRecommender& model, const JointOptions& options);

  /// The learned slope of the bias.
  static Params initial_adaptation();

  std::string_view name() const override { return "joint"; }
  std::int64_t steps_per_epoch() const override;
  void begin_epoch(Generator& random) override;
  Variable loss(const Learned& learned, std::int64_t step, Generator& random) const override;
  std::string describe_step(std::int64_t step) const override;
  double validation_loss(const Learned& learned, const Tick& tick) const override;

 private:
  std::span<const std::int64_t> batch(std::int64_t step) const;

  const Dataset& data_;
  const ColdStartSplit& split_;
  const FeatureTable& features_;
  const NeuralRecommender& model_;
  std::int64_t batch_;
  std::int64_t rating_count_ = 0;    // of the training users
  std::vector<float> user_bias_;     // (users)
  std::vector<std::int64_t> order_;  // of Dataset::ratings
};

struct MetaOptions {
  int tasks = 16;  // users per step
  MetaBatchOptions batch = {.query = 60};
  TrainerOptions trainer = {.epochs = 30, .learning_rate = 7e-4};
};

/// Every training user once per epoch, as a task of a method.
class MetaStage final : public TrainingStage {
 public:
  MetaStage(const Dataset& data, const ColdStartSplit& split, const FeatureTable& features,
            std::shared_ptr<const FewShotMethod> method, std::string_view name,
            const MetaOptions& options);

  std::string_view name() const override { return name_; }
  std::int64_t steps_per_epoch() const override;
  void begin_epoch(Generator& random) override;
  Variable loss(const Learned& learned, std::int64_t step, Generator& random) const override;
  std::string describe_step(std::int64_t step) const override;
  double validation_loss(const Learned& learned, const Tick& tick) const override;

 private:
  std::span<const std::int32_t> users(std::int64_t step) const;

  const Dataset& data_;
  const ColdStartSplit& split_;
  const FeatureTable& features_;
  std::shared_ptr<const FewShotMethod> method_;
  std::string name_;
  MetaOptions options_;
  std::vector<std::int32_t> order_;  // users
};

/// Support sizes whose like loss decides between parameters of a method that adapts.
inline constexpr int kSelectionSizes[] = {1, 5, 10};

}  // namespace mettle
