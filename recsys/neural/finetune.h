// The baseline that meta-learning must beat: joint training, then plain gradient steps on the
// support, tuned on validation users.
#pragma once

#include "recsys/neural/method.h"

namespace mettle {

struct FinetuneChoice {
  AdaptationOptions options;
  double validation_loss = 0.0;
};

/// The rate and number of gradient steps with the smallest like loss of `validation`, searched on a
/// grid of factors of about 3 for both. The grid grows as long as its best point lies on its edge,
/// up to rates of 1e-4 to 10 and 1 to 100 steps; the encoder's rate is a fixed share of the head's.
FinetuneChoice choose_finetuning(const NeuralRecommender& model, const Params& weights,
                                 const Dataset& data, const FeatureTable& features,
                                 std::span<const Episode> validation);

}  // namespace mettle
