// Fuzzes the reader of model files. The first byte picks what the rest is: a whole file, or the
// text of one entry of the metadata of a good one. Whatever the bytes are, the outcome is a
// FileError or a recommender whose predictions are probabilities and stars in range, or not finite
// and refused.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/check.h"
#include "engine/safetensors.h"
#include "recsys/neural/recommender.h"
#include "recsys/neural/recommender_file.h"
#include "tests/fuzz/safetensors_input.h"

namespace {

using namespace mettle;

void require(bool promise) {
  if (!promise) std::abort();
}

// Six films of two genres, three users.
Dataset small_data() {
  Dataset data;
  data.name = "small";
  data.genres = {"Comedy", "Drama"};
  data.stars = {1.0, 5.0};
  data.user_begin = {0};
  for (int i = 0; i < 6; ++i)
    data.items.push_back({.id = std::to_string(i),
                          .title = "Film " + std::to_string(i),
                          .year = 1980 + i,
                          .genres = {i % 2}});
  for (int u = 0; u < 3; ++u) {
    data.user_ids.push_back(std::to_string(u));
    for (int i = u % 2; i < 6; ++i) data.ratings.push_back({u, i, 1.0 + (u + i) % 5, 0});
    data.user_begin.push_back(std::ssize(data.ratings));
  }
  return data;
}

// A ridge model as it begins: its file has every kind of tensor.
TensorFile good_file(const Dataset& data) {
  const std::int32_t users[] = {0, 1, 2};
  NeuralConfiguration made{.method = NeuralMethod::ridge,
                           .features = {.folds = 2, .factors = 1, .max_title_words = 2},
                           .model = {.dim = 2, .layers = 1, .heads = 1, .hidden = 2},
                           .adaptation = {.steps = 1, .ridge_factors = 2}};
  const auto features = std::make_shared<const FeatureTable>(data, users, made.features);
  const NeuralRecommender model(features->sizes(), made.model);
  Generator random(1);
  Learned learned;
  model.init(learned.weights, random);
  learned.adaptation =
      make_method(made.method, model, made.adaptation)->initial_adaptation(learned.weights, random);
  TensorFile file = TrainedRecommender(made, features, learned).to_file(data);
  file.metadata["calibration"] = "[[0,0.5,1,0,1],[5,0.25,1.5,0,2]]";
  return file;
}

void use(const Dataset& data, const TensorFile& content) {
  const RecommenderFile file = parse_recommender(content, "model");
  const TrainedRecommender model = TrainedRecommender::from_file(data, file, "model");
  const std::int32_t items[] = {0, 3, 5};
  const ItemRating known[] = {{1, 5.0}, {2, 1.0}};
  try {
    for (const ItemPrediction& p : model.predict(data, known, items)) {
      require(p.like_probability >= 0.0 && p.like_probability <= 1.0);
      require(p.stars >= data.stars.low && p.stars <= data.stars.high);
    }
  } catch (const ValueError&) {  // NOLINT(bugprone-empty-catch)
    // Weights that are finite, predictions that are not.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const Dataset films = small_data();
  static const TensorFile good = good_file(films);
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    TensorFile content = good;
    switch (data[0]) {
      case 'c': content.metadata["configuration"] = text; break;
      case 'k': content.metadata["calibration"] = text; break;
      default: {
        const std::string bytes = fuzz::as_safetensors(text);
        content = parse_safetensors(std::as_bytes(std::span(bytes)));
      }
    }
    use(films, content);
  } catch (const FileError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
  return 0;
}
