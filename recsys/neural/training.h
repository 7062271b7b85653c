// From a data set and a split to trained recommenders: features and the joint stage once, then each
// method's own stage.
#pragma once

#include <optional>

#include "recsys/neural/finetune.h"
#include "recsys/neural/recommender.h"
#include "recsys/neural/run_identity.h"
#include "recsys/neural/stages.h"

namespace mettle {

struct NeuralTrainingOptions {
  FeatureOptions features;  // its seed is replaced by the one below
  NeuralOptions model;
  AdaptationOptions adaptation;
  JointOptions joint;
  MetaOptions meta;
  Device device = {};      // where weights are trained; checkpoints go from one to another
  std::uint64_t seed = 0;  // of folds, weights, order of data, tasks and dropout
  /// Folder of checkpoints, one file per stage; empty: none are written. Training goes on from the
  /// files found there. FileError when they belong to other options or other data.
  std::filesystem::path checkpoints = {};
};

/// The result depends on the data, the split and the options alone: the same bits for any number of
/// threads and however often training was interrupted. Devices differ in rounding. `data` and
/// `split` must outlive it.
class NeuralTraining {
 public:
  /// OtherRunError, before any work, when a checkpoint of options.checkpoints belongs to other
  /// options or other data, FileError when one is damaged; ValueError for options that make no
  /// model; Interrupted.
  NeuralTraining(const Dataset& data, const ColdStartSplit& split,
                 const NeuralTrainingOptions& options, TrainingHooks hooks = {});

  /// A calibrated recommender. After Interrupted, call it again in a new process with the same
  /// checkpoints to go on: stages go on where they were, other work begins anew. Errors of
  /// train_stage().
  TrainedRecommender train(NeuralMethod method);

 private:
  const Params& joint_weights();
  std::filesystem::path checkpoint(std::string_view stage) const;
  std::string identity(std::string_view stage) const {
    return run_identity(data_, split_, options_, stage);
  }
  TrainedRecommender finished(NeuralMethod method, const AdaptationOptions& adaptation,
                              const Learned& learned) const;

  const Dataset& data_;
  const ColdStartSplit& split_;
  NeuralTrainingOptions options_;
  TrainingHooks hooks_;
  std::shared_ptr<const FeatureTable> features_;
  NeuralRecommender model_;
  std::optional<Params> joint_weights_;
};

}  // namespace mettle
