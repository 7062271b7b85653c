// The facts, and the first that differs.
#include "recsys/neural/run_identity.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "recsys/neural/json_fields.h"
#include "recsys/neural/training.h"

namespace mettle {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kMaxBytes = 64 << 10;

void add_trainer(json& facts, const std::string& stage, const TrainerOptions& t) {
  facts[stage + "epochs"] = t.epochs;
  facts[stage + "learning-rate"] = t.learning_rate;
  facts[stage + "adaptation-rate"] = t.adaptation_rate;
  facts[stage + "weight-decay"] = t.weight_decay;
  facts[stage + "gradient-norm"] = t.max_gradient_norm;
  facts[stage + "patience"] = t.patience;
}

void add_data(json& facts, const Dataset& data, const ColdStartSplit& split) {
  facts["data"] = data.name;
  facts["users"] = data.user_count();
  facts["items"] = data.item_count();
  facts["ratings"] = data.ratings.size();
  facts["split-seed"] = split.seed;
  facts["split-queries"] = split.options.query;
  facts["split-support"] = split.options.max_support;
  facts["split-draws"] = split.options.draws;
}

void add_model(json& facts, const NeuralTrainingOptions& options) {
  const FeatureOptions& f = options.features;
  const NeuralOptions& m = options.model;
  facts["folds"] = f.folds;
  facts["shrinkage"] = f.shrinkage;
  facts["factors"] = f.factors;
  facts["title-words"] = f.max_title_words;
  facts["word-count"] = f.min_word_count;
  facts["item-ids"] = f.item_ids;
  facts["id-ratings"] = f.min_id_ratings;
  facts["dim"] = m.dim;
  facts["layers"] = m.layers;
  facts["heads"] = m.heads;
  facts["hidden"] = m.hidden;
  facts["dropout"] = m.dropout;
}

void add_meta(json& facts, const AdaptationOptions& adaptation, const MetaOptions& meta) {
  facts["inner-steps"] = adaptation.steps;
  facts["inner-rate"] = adaptation.head_rate;
  facts["encoder-rate"] = adaptation.encoder_rate;
  facts["ridge-factors"] = adaptation.ridge_factors;
  facts["tasks"] = meta.tasks;
  facts["support"] = meta.batch.support;
  facts["query"] = meta.batch.query;
  facts["support-sizes"] = fmt::format("{}", fmt::join(meta.batch.support_sizes, " "));
  add_trainer(facts, "", meta.trainer);
}

std::string text_of(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? "nothing" : shown(*found);
}

}  // namespace

OtherRunError::OtherRunError(const std::string& file, std::string option, std::string begun_with,
                             std::string now)
    : FileError(fmt::format("{}: a checkpoint of a run that was begun with {} {}, not {}; repeat "
                            "that run's options to go on with it, or begin in another folder",
                            file, option, begun_with, now)),
      option_(std::move(option)),
      begun_with_(std::move(begun_with)),
      now_(std::move(now)) {}

std::string run_identity(const Dataset& data, const ColdStartSplit& split,
                         const NeuralTrainingOptions& options, std::string_view stage) {
  json facts;
  facts["stage"] = stage;
  facts["seed"] = options.seed;
  add_data(facts, data, split);
  add_model(facts, options);
  facts["joint-batch"] = options.joint.batch;
  add_trainer(facts, "joint-", options.joint.trainer);
  if (stage != "joint") add_meta(facts, options.adaptation, options.meta);
  return facts.dump(-1, ' ', false, json::error_handler_t::replace);
}

void require_same_run(const std::string& saved, const std::string& now, const std::string& file) {
  if (saved == now) return;
  nlohmann::json before;
  try {
    before = parse_json(saved, kMaxBytes, "its configuration");
    METTLE_CHECK(FileError, before.is_object(), "its configuration is {}", shown(before));
  } catch (const FileError& error) {
    fail<FileError>("{}: {}; remove the file to begin anew", file, error.message());
  }
  const json after = json::parse(now);
  const auto compare = [&](const std::string& key) {
    if (!before.contains(key) || !after.contains(key) ||
        before.at(key) != nlohmann::json(after.at(key)))
      throw OtherRunError(file, key, text_of(before, key), text_of(after, key));
  };
  for (const auto& [key, value] : after.items()) compare(key);
  for (const auto& [key, value] : before.items()) compare(key);
}

}  // namespace mettle
