// The content of a model file, checked as far as it can be without the data it was trained on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/safetensors.h"
#include "recsys/calibration.h"
#include "recsys/neural/configuration.h"

namespace mettle {

struct RecommenderFile {
  SavedConfiguration configuration;
  std::string catalogue;                  // item_catalogue() of the data that it was trained on
  std::map<int, PlattScale> calibration;  // by support size
  FeatureSizes sizes;                     // that the weights were made for
  Learned learned;
  // The table of a new user's features: FeatureTable::new_user_numeric() and so on.
  Tensor numeric, factors, ids;

  std::int64_t item_count() const { return numeric.size(0); }
};

/// Everything that a recommender of these items refers to by number, as JSON.
std::string item_catalogue(const Dataset& data);

/// Reads the tensors and metadata of a model file. FileError, begun by `name` and ended by what to
/// do, when it is no model, a field of its JSON is missing or out of range, a size there is not
/// that of the tensors, a tensor is missing, unknown, of another shape or dtype or has a number
/// that is not finite. Makes nothing larger than the tensors that are there.
RecommenderFile parse_recommender(const TensorFile& file, std::string_view name);

/// parse_recommender() of read_safetensors().
RecommenderFile read_recommender(const std::filesystem::path& path);

}  // namespace mettle
