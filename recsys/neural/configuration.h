// What a recommender is made from, and its JSON form, which a model file keeps. The text may come
// from anywhere: every field is there, of its type and within limits, or the reader says which is
// not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "recsys/features.h"
#include "recsys/neural/method.h"
#include "recsys/neural/model.h"

namespace mettle {

struct NeuralConfiguration {
  NeuralMethod method = NeuralMethod::maml;
  FeatureOptions features;
  NeuralOptions model;
  AdaptationOptions adaptation;
  std::uint64_t seed = 0;
};

/// What a model file says beside its tensors.
struct SavedConfiguration {
  NeuralConfiguration options;
  double global_mean = 0.0;  // of the training users' stars
};

/// One JSON object with a field for every option.
std::string to_json_text(const SavedConfiguration& configuration);

/// Reads what to_json_text() gives. FileError, naming the field, its value and what is accepted,
/// for text that is not JSON or too long, a field that is missing or unknown, of another type,
/// negative, not a number or beyond the limits. A size within the limits may still be far larger
/// than the machine: whoever makes something of this size checks it against what is there.
SavedConfiguration parse_configuration(std::string_view json);

}  // namespace mettle
