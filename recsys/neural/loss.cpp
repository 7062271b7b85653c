// The loss of both heads.
#include "recsys/neural/loss.h"

#include "autograd/fused.h"
#include "autograd/ops.h"

namespace mettle {

Variable rating_losses(const RatingPrediction& prediction, const RatingBatch& truth) {
  const Variable like =
      bce_with_logits(prediction.like_logit, truth.like, {.reduction = Reduction::none});
  return add(like, mul(square(sub(prediction.stars, truth.stars)), 0.5));
}

Variable summed_loss(const RatingPrediction& prediction, const RatingBatch& truth) {
  return sum(mul(rating_losses(prediction, truth), truth.weight));
}

Variable mean_loss(const RatingPrediction& prediction, const RatingBatch& truth) {
  return div(summed_loss(prediction, truth), sum(truth.weight));
}

}  // namespace mettle
