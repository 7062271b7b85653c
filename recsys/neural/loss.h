// What training and adaptation minimise.
#pragma once

#include "recsys/meta_batch.h"
#include "recsys/neural/model.h"

namespace mettle {

/// Cross-entropy of the like plus half the squared error of the stars: (T, n).
Variable rating_losses(const RatingPrediction& prediction, const RatingBatch& truth);
/// Sum over all slots times their weights: a scalar.
Variable summed_loss(const RatingPrediction& prediction, const RatingBatch& truth);
/// The same, divided by the sum of the weights.
Variable mean_loss(const RatingPrediction& prediction, const RatingBatch& truth);

}  // namespace mettle
