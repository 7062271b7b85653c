// Trained recommenders as safetensors files.
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/safetensors.h"
#include "models/checkpoint.h"
#include "recsys/neural/recommender.h"

namespace mettle {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "mettle recommender 1";
constexpr const char* kConfiguration = "configuration";
// Beginnings of tensor names.
constexpr std::string_view kWeights = "weights/", kAdaptation = "adaptation/";

void put(TensorFile& file, std::string_view group, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) file.tensors[std::string(group) + name] = tensor;
}

NamedTensors take(const TensorFile& file, std::string_view group) {
  NamedTensors out;
  for (const auto& [name, tensor] : file.tensors)
    if (name.starts_with(group)) out[name.substr(group.size())] = tensor;
  return out;
}

json to_json(const NeuralConfiguration& c, double global_mean) {
  return {{"method", method_name(c.method)},
          {"seed", c.seed},
          {"global_mean", global_mean},
          {"features",
           {{"factors", c.features.factors},
            {"max_title_words", c.features.max_title_words},
            {"min_word_count", c.features.min_word_count},
            {"item_ids", c.features.item_ids},
            {"min_id_ratings", c.features.min_id_ratings},
            {"folds", c.features.folds},
            {"shrinkage", c.features.shrinkage},
            {"seed", c.features.seed}}},
          {"model",
           {{"dim", c.model.dim},
            {"layers", c.model.layers},
            {"heads", c.model.heads},
            {"hidden", c.model.hidden},
            {"dropout", c.model.dropout}}},
          {"adaptation",
           {{"steps", c.adaptation.steps},
            {"head_rate", c.adaptation.head_rate},
            {"encoder_rate", c.adaptation.encoder_rate},
            {"ridge_factors", c.adaptation.ridge_factors}}}};
}

NeuralConfiguration configuration_from(const json& j) {
  const json &f = j.at("features"), &m = j.at("model"), &a = j.at("adaptation");
  return {.method = parse_method(j.at("method").get<std::string>()),
          .features = {.folds = f.at("folds"),
                       .shrinkage = f.at("shrinkage"),
                       .factors = f.at("factors"),
                       .max_title_words = f.at("max_title_words"),
                       .min_word_count = f.at("min_word_count"),
                       .item_ids = f.at("item_ids"),
                       .min_id_ratings = f.at("min_id_ratings"),
                       .seed = f.at("seed")},
          .model = {.dim = m.at("dim"),
                    .layers = m.at("layers"),
                    .heads = m.at("heads"),
                    .hidden = m.at("hidden"),
                    .dropout = m.at("dropout")},
          .adaptation = {.steps = a.at("steps"),
                         .head_rate = a.at("head_rate"),
                         .encoder_rate = a.at("encoder_rate"),
                         .ridge_factors = a.at("ridge_factors")},
          .seed = j.at("seed")};
}

// The items that a recommender knows by number.
json item_list(const Dataset& data) {
  json ids = json::array();
  for (const Item& item : data.items) ids.push_back(item.id);
  return {{"genres", data.genres}, {"items", std::move(ids)}};
}

json to_json(const std::map<int, PlattScale>& calibration) {
  json out = json::array();
  for (const auto& [k, scale] : calibration)
    out.push_back({k, scale.intercept, scale.slope, scale.center, scale.spread});
  return out;
}

std::map<int, PlattScale> calibration_from(const json& j) {
  std::map<int, PlattScale> out;
  for (const json& row : j)
    out[row.at(0)] = {
        .intercept = row.at(1), .slope = row.at(2), .center = row.at(3), .spread = row.at(4)};
  return out;
}

}  // namespace

void TrainedRecommender::save(const Dataset& data, const std::filesystem::path& path) const {
  TensorFile file;
  put(file, kWeights, named_tensors(learned_.weights));
  put(file, kAdaptation, named_tensors(learned_.adaptation));
  file.tensors["features/numeric"] = features_->new_user_numeric();
  file.tensors["features/factors"] = features_->new_user_factors();
  file.tensors["features/ids"] = features_->item_ids();
  file.metadata["format"] = kFormat;
  file.metadata[kConfiguration] = to_json(configuration_, features_->global_mean()).dump();
  file.metadata["catalogue"] = item_list(data).dump();
  file.metadata["calibration"] = to_json(calibration_).dump();
  write_safetensors(path, file);
}

TrainedRecommender TrainedRecommender::load(const Dataset& data,
                                            const std::filesystem::path& path) {
  const TensorFile file = read_safetensors(path);
  const auto text = [&](const char* key) -> const std::string& {
    const auto found = file.metadata.find(key);
    METTLE_CHECK(FileError, found != file.metadata.end(),
                 "{}: not a recommender: '{}' is missing in its metadata", path.string(), key);
    return found->second;
  };
  const auto tensor = [&](const char* key) -> const Tensor& {
    const auto found = file.tensors.find(key);
    METTLE_CHECK(FileError, found != file.tensors.end(), "{}: tensor '{}' is missing",
                 path.string(), key);
    return found->second;
  };
  METTLE_CHECK(FileError, text("format") == kFormat, "{}: format '{}', expected '{}'",
               path.string(), text("format"), kFormat);
  METTLE_CHECK(FileError, text("catalogue") == item_list(data).dump(),
               "{}: trained on other items than those of data set '{}'; point to the data that it "
               "was trained on",
               path.string(), data.name);
  const auto reading = [&](const auto& read) {
    try {
      return read();
    } catch (const json::exception& error) {
      fail<FileError>("{}: damaged metadata: {}", path.string(), error.what());
    } catch (const FileError&) {
      throw;
    } catch (const Error& error) {
      fail<FileError>("{}: {}", path.string(), error.message());
    }
  };
  return reading([&] {
    const json stored = json::parse(text(kConfiguration));
    const NeuralConfiguration configuration = configuration_from(stored);
    auto features = std::make_shared<const FeatureTable>(
        data, configuration.features, stored.at("global_mean").get<double>(),
        tensor("features/numeric"), tensor("features/factors"), tensor("features/ids"));
    const NeuralRecommender model(features->sizes(), configuration.model);
    Generator unused;
    Learned like;
    model.init(like.weights, unused);
    like.adaptation = make_method(configuration.method, model, configuration.adaptation)
                          ->initial_adaptation(like.weights, unused);
    TrainedRecommender out(configuration, std::move(features),
                           {params_like(like.weights, take(file, kWeights)),
                            params_like(like.adaptation, take(file, kAdaptation))});
    out.calibration_ = calibration_from(json::parse(text("calibration")));
    return out;
  });
}

}  // namespace mettle
