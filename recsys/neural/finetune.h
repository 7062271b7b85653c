// The baseline that meta-learning must beat: joint training, then plain gradient steps on the
// support, tuned on validation users.
#pragma once

#include "recsys/neural/method.h"
#include "recsys/work.h"

namespace mettle {

struct FinetuneChoice {
  AdaptationOptions options;
  double validation_loss = 0.0;
};

/// The rate of the head, the encoder's share of it (0 for the head alone, 0.03, 0.3) and the number
/// of gradient steps with the smallest like loss of `validation`: the loss by which meta-trained
/// methods choose their epoch. Rates and steps lie on a grid of factors of about 3. For each share
/// the search goes from the middle to the best neighbour as long as one is better by 5e-4, so that
/// it does not end at an edge of what it has looked at; the grid's own ends are rates of 1e-4 and
/// 10, and 1 and 100 steps. Parts of the work are gradient steps of a batch; their total grows
/// whenever the search moves.
FinetuneChoice choose_finetuning(const NeuralRecommender& model, const Params& weights,
                                 const Dataset& data, const FeatureTable& features,
                                 std::span<const Episode> validation, const WorkHooks& hooks = {});

}  // namespace mettle
