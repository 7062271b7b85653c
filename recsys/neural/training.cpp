// The order of stages, and what each starts from.
#include "recsys/neural/training.h"

#include <fmt/ranges.h>

#include "engine/check.h"

namespace mettle {
namespace {

// Seeds of independent streams made from one.
enum Stream : std::uint64_t { weights_stream, joint_stream, adaptation_stream, meta_stream };
std::uint64_t stream_seed(std::uint64_t seed, Stream stream) {
  return PhiloxKey{seed, 0}.fork(stream).seed;
}

FeatureOptions seeded(FeatureOptions options, std::uint64_t seed) {
  options.seed = seed;
  return options;
}

}  // namespace

NeuralTraining::NeuralTraining(const Dataset& data, const ColdStartSplit& split,
                               const NeuralTrainingOptions& options, TrainingHooks hooks)
    : data_(data),
      split_(split),
      options_(options),
      hooks_(std::move(hooks)),
      features_(std::make_shared<const FeatureTable>(data, split.train_users,
                                                     seeded(options.features, options.seed))),
      model_(features_->sizes(), options.model) {
  options_.features.seed = options.seed;
}

std::optional<TrainedRecommender> NeuralTraining::train(NeuralMethod method) {
  if (!joint_weights_ && !train_joint()) return std::nullopt;
  const Params& weights = *joint_weights_;
  if (method == NeuralMethod::joint) return finished(method, options_.adaptation, {weights, {}});

  Generator random(stream_seed(options_.seed, adaptation_stream));
  if (method == NeuralMethod::finetune) {
    const FinetuneChoice choice =
        choose_finetuning(model_, weights, data_, *features_, split_.validation);
    const auto tuned = make_method(method, model_, choice.options);
    return finished(method, choice.options, {weights, tuned->initial_adaptation(weights, random)});
  }
  const auto few_shot = make_method(method, model_, options_.adaptation);
  MetaStage stage(data_, split_, *features_, few_shot, method_name(method), options_.meta);
  TrainingResult result =
      train_stage(stage, {weights, few_shot->initial_adaptation(weights, random)},
                  options_.meta.trainer, stream_seed(options_.seed, meta_stream), hooks_,
                  checkpoint(stage.name()), identity(stage.name()));
  if (!result.finished) return std::nullopt;
  return finished(method, options_.adaptation, result.best);
}

bool NeuralTraining::train_joint() {
  Learned initial;
  Generator random(stream_seed(options_.seed, weights_stream));
  model_.init(initial.weights, random);
  initial.adaptation = JointStage::initial_adaptation();
  JointStage stage(data_, split_, *features_, model_, options_.joint);
  TrainingResult result =
      train_stage(stage, initial, options_.joint.trainer, stream_seed(options_.seed, joint_stream),
                  hooks_, checkpoint(stage.name()), identity(stage.name()));
  if (result.finished) joint_weights_ = std::move(result.best.weights);
  return result.finished;
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
  out.calibrate(data_, split_.validation);
  return out;
}

std::filesystem::path NeuralTraining::checkpoint(std::string_view stage) const {
  if (options_.checkpoints.empty()) return {};
  return options_.checkpoints / (std::string(stage) + ".checkpoint.safetensors");
}

// Every option that a stage's result depends on, and the data's name and size.
std::string NeuralTraining::identity(std::string_view stage) const {
  const auto trainer = [](const TrainerOptions& t) {
    return fmt::format("epochs {} rates {} {} decay {} norm {} patience {}", t.epochs,
                       t.learning_rate, t.adaptation_rate, t.weight_decay, t.max_gradient_norm,
                       t.patience);
  };
  const FeatureOptions& f = options_.features;
  const NeuralOptions& m = options_.model;
  std::string text = fmt::format(
      "{}: data {} users {} items {} ratings {}, split seed {} queries {} support {} draws {}, "
      "seed "
      "{}, features folds {} shrinkage {} factors {} words {} {} ids {} {}, model {} {} {} {} {}, "
      "joint batch {} {}",
      stage, data_.name, data_.user_count(), data_.item_count(), data_.ratings.size(), split_.seed,
      split_.options.query, split_.options.max_support, split_.options.draws, options_.seed,
      f.folds, f.shrinkage, f.factors, f.max_title_words, f.min_word_count, f.item_ids,
      f.min_id_ratings, m.dim, m.layers, m.heads, m.hidden, m.dropout, options_.joint.batch,
      trainer(options_.joint.trainer));
  if (stage == "joint") return text;
  const AdaptationOptions& a = options_.adaptation;
  const MetaOptions& meta = options_.meta;
  text += fmt::format(", adaptation {} {} {} {}, tasks {} support {} query {} sizes {}, {}",
                      a.steps, a.head_rate, a.encoder_rate, a.ridge_factors, meta.tasks,
                      meta.batch.support, meta.batch.query,
                      fmt::join(meta.batch.support_sizes, " "), trainer(meta.trainer));
  return text;
}

}  // namespace mettle
