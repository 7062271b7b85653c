// The closed-form method: Bayesian linear regression of the support's residuals on the model's
// representation, with a meta-learned prior.
#pragma once

#include "recsys/neural/method.h"

namespace mettle {

/// stars = head(phi) + z(phi) . w + noise,  w ~ N(0, I),  noise ~ N(0, s2),
/// z(phi) = [phi P; phi * exp(a); exp(b)]: learned directions, a scale for every entry and a user's
/// bias. The posterior mean of w is the ridge regression of the support's residuals on its z with
/// penalty s2. The query's stars move by z . w and its like logits by exp(g) times that. P, a, b,
/// s2, g and everything in phi are learned by gradient descent through the regression.
class RidgeHead final : public FewShotMethod {
 public:
  RidgeHead(const NeuralRecommender& model, int factors) : model_(model), factors_(factors) {}
  Params initial_adaptation(const Params& weights, Generator& random) const override;
  RatingPrediction predict(const Learned& learned, const MetaBatch& batch) const override;

 private:
  NeuralRecommender model_;
  int factors_;
};

}  // namespace mettle
