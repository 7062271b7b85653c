// The order of stages, and what each starts from.
#include "recsys/neural/training.h"

#include "engine/check.h"
#include "models/checkpoint.h"

namespace mettle {
namespace {

// Seeds of independent streams made from one.
enum Stream : std::uint64_t { weights_stream, joint_stream, adaptation_stream, meta_stream };
std::uint64_t stream_seed(std::uint64_t seed, Stream stream) {
  return PhiloxKey{seed, 0}.fork(stream).seed;
}

std::filesystem::path checkpoint_file(const std::filesystem::path& folder, std::string_view stage) {
  return folder / (std::string(stage) + ".checkpoint.safetensors");
}

// The options, once every checkpoint that training would go on from is known to be theirs.
NeuralTrainingOptions checked(const Dataset& data, const ColdStartSplit& split,
                              NeuralTrainingOptions options) {
  options.features.seed = options.seed;
  if (options.checkpoints.empty()) return options;
  for (const NeuralMethod method : kNeuralMethods) {  // "joint" among them
    const std::string_view stage = method_name(method);
    const std::filesystem::path file = checkpoint_file(options.checkpoints, stage);
    if (!std::filesystem::exists(file)) continue;
    require_same_run(load_checkpoint(file).configuration, run_identity(data, split, options, stage),
                     file.string());
  }
  return options;
}

}  // namespace

NeuralTraining::NeuralTraining(const Dataset& data, const ColdStartSplit& split,
                               const NeuralTrainingOptions& options, TrainingHooks hooks)
    : data_(data),
      split_(split),
      options_(checked(data, split, options)),
      hooks_(std::move(hooks)),
      features_(std::make_shared<const FeatureTable>(data, split.train_users, options_.features,
                                                     hooks_.work)),
      model_(features_->sizes(), options.model) {}

TrainedRecommender NeuralTraining::train(NeuralMethod method) {
  const Params& weights = joint_weights();
  if (method == NeuralMethod::joint) return finished(method, options_.adaptation, {weights, {}});

  Generator random(stream_seed(options_.seed, adaptation_stream));
  if (method == NeuralMethod::finetune) {
    const FinetuneChoice choice =
        choose_finetuning(model_, weights, data_, *features_, split_.validation, hooks_.work);
    const auto tuned = make_method(method, model_, choice.options);
    const Params adaptation = tuned->initial_adaptation(weights, random).to(options_.device);
    return finished(method, choice.options, {weights, adaptation});
  }
  const auto few_shot = make_method(method, model_, options_.adaptation);
  MetaStage stage(data_, split_, *features_, few_shot, method_name(method), options_.meta);
  const TrainingResult result = train_stage(
      stage, Learned{weights, few_shot->initial_adaptation(weights, random)}.to(options_.device),
      options_.meta.trainer, stream_seed(options_.seed, meta_stream), hooks_,
      checkpoint(stage.name()), identity(stage.name()));
  return finished(method, options_.adaptation, result.best);
}

const Params& NeuralTraining::joint_weights() {
  if (joint_weights_) return *joint_weights_;
  Learned initial;
  Generator random(stream_seed(options_.seed, weights_stream));
  model_.init(initial.weights, random);
  initial.adaptation = JointStage::initial_adaptation();
  JointStage stage(data_, split_, *features_, model_, options_.joint);
  TrainingResult result = train_stage(stage, initial.to(options_.device), options_.joint.trainer,
                                      stream_seed(options_.seed, joint_stream), hooks_,
                                      checkpoint(stage.name()), identity(stage.name()));
  return joint_weights_.emplace(std::move(result.best.weights));
}

TrainedRecommender NeuralTraining::finished(NeuralMethod method,
                                            const AdaptationOptions& adaptation,
                                            const Learned& learned) const {
  TrainedRecommender out({.method = method,
                          .features = options_.features,
                          .model = options_.model,
                          .adaptation = adaptation,
                          .seed = options_.seed},
                         features_, learned);
  out.calibrate(data_, split_.validation, hooks_.work);
  return out;
}

std::filesystem::path NeuralTraining::checkpoint(std::string_view stage) const {
  return options_.checkpoints.empty() ? std::filesystem::path()
                                      : checkpoint_file(options_.checkpoints, stage);
}

}  // namespace mettle
