// Configurations as JSON.
#include "recsys/neural/configuration.h"

#include "engine/check.h"
#include "recsys/neural/json_fields.h"

namespace mettle {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 64 << 10;
constexpr int kMaxSize = 1 << 20;   // of one axis of a tensor
constexpr int kMaxCount = 1 << 30;  // of ratings, items and the like
constexpr double kMaxRate = 1e6, kMaxShrinkage = 1e9, kMaxStars = 1e6;
constexpr double kMaxDropout = 0.999;

FeatureOptions features_from(JsonFields f) {
  FeatureOptions out;
  out.folds = f.whole("folds", 0, kMaxCount);
  out.shrinkage = f.number("shrinkage", 0.0, kMaxShrinkage);
  out.factors = f.whole("factors", 0, kMaxSize);
  out.max_title_words = f.whole("max_title_words", 0, kMaxSize);
  out.min_word_count = f.whole("min_word_count", 0, kMaxCount);
  out.item_ids = f.flag("item_ids");
  out.min_id_ratings = f.whole("min_id_ratings", 0, kMaxCount);
  out.seed = f.seed("seed");
  f.refuse_others();
  return out;
}

NeuralOptions model_from(JsonFields m) {
  NeuralOptions out;
  out.dim = m.whole("dim", 1, kMaxSize);
  out.layers = m.whole("layers", 1, kMaxSize);
  out.heads = m.whole("heads", 1, kMaxSize);
  out.hidden = m.whole("hidden", 1, kMaxSize);
  out.dropout = m.number("dropout", 0.0, kMaxDropout);
  m.refuse_others();
  METTLE_CHECK(FileError, out.dim % out.heads == 0,
               "model.heads is {}, which does not divide model.dim {}", out.heads, out.dim);
  return out;
}

AdaptationOptions adaptation_from(JsonFields a) {
  AdaptationOptions out;
  out.steps = a.whole("steps", 1, kMaxInnerSteps);
  out.head_rate = a.number("head_rate", 0.0, kMaxRate);
  out.encoder_rate = a.number("encoder_rate", 0.0, kMaxRate);
  out.ridge_factors = a.whole("ridge_factors", 1, kMaxSize);
  a.refuse_others();
  return out;
}

NeuralMethod method_from(const std::string& name) {
  try {
    return parse_method(name);
  } catch (const ValueError& error) {
    fail<FileError>("{}", error.message());
  }
}

}  // namespace

std::string to_json_text(const SavedConfiguration& saved) {
  const NeuralConfiguration& c = saved.options;
  const FeatureOptions& f = c.features;
  const NeuralOptions& m = c.model;
  const AdaptationOptions& a = c.adaptation;
  return json{{"method", method_name(c.method)},
              {"seed", c.seed},
              {"global_mean", saved.global_mean},
              {"features",
               {{"factors", f.factors},
                {"max_title_words", f.max_title_words},
                {"min_word_count", f.min_word_count},
                {"item_ids", f.item_ids},
                {"min_id_ratings", f.min_id_ratings},
                {"folds", f.folds},
                {"shrinkage", f.shrinkage},
                {"seed", f.seed}}},
              {"model",
               {{"dim", m.dim},
                {"layers", m.layers},
                {"heads", m.heads},
                {"hidden", m.hidden},
                {"dropout", m.dropout}}},
              {"adaptation",
               {{"steps", a.steps},
                {"head_rate", a.head_rate},
                {"encoder_rate", a.encoder_rate},
                {"ridge_factors", a.ridge_factors}}}}
      .dump();
}

SavedConfiguration parse_configuration(std::string_view text) {
  const json parsed = parse_json(text, kMaxBytes, "the text");
  JsonFields fields(parsed, "");
  SavedConfiguration out;
  out.options.method = method_from(fields.text("method"));
  out.options.features = features_from(fields.object("features"));
  out.options.model = model_from(fields.object("model"));
  out.options.adaptation = adaptation_from(fields.object("adaptation"));
  out.options.seed = fields.seed("seed");
  out.global_mean = fields.number("global_mean", -kMaxStars, kMaxStars);
  fields.refuse_others();
  return out;
}

}  // namespace mettle
