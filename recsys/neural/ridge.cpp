// The posterior mean of a linear model on the representation, batched over tasks.
#include "recsys/neural/ridge.h"

#include <cmath>

#include "autograd/ops.h"
#include "models/ridge.h"

namespace mettle {
namespace {

// z(phi): (T, n, F) -> (T, n, factors + F + 1).
Variable prior_features(const Params& prior, const Variable& phi) {
  const Shape bias_shape{phi.size(0), phi.size(1), 1};
  return concat(
      Variables{matmul(phi, prior["ridge.directions"]), mul(phi, exp(prior["ridge.log_scale"])),
                expand(exp(prior["ridge.log_bias"]), bias_shape)},
      -1);
}

}  // namespace

Params RidgeHead::initial_adaptation(const Params& weights, Generator& random) const {
  const DType dtype = weights.values()[0].dtype();
  const std::int64_t size = model_.representation_size();
  Params prior;
  prior.add("ridge.directions",
            normal({size, factors_}, random.next_key(), 0.0, 0.05, dtype).detach_requires_grad());
  const auto variance = [&](const char* name, const Shape& shape, double log_value) {
    prior.add(name, full(shape, log_value, dtype).detach_requires_grad());
  };
  variance("ridge.log_scale", {size}, 0.5 * std::log(0.02));
  variance("ridge.log_bias", {1}, 0.5 * std::log(0.2));
  variance("ridge.log_noise", {1}, std::log(0.8));
  variance("ridge.log_like_gain", {1}, 0.5);
  return prior;
}

RatingPrediction RidgeHead::predict(const Learned& learned, const MetaBatch& batch) const {
  const Params &weights = learned.weights, &prior = learned.adaptation;
  const auto read = [&](const FeatureBatch& rows) {
    return model_.representation(weights, model_.tokens(weights, rows), rows);
  };
  const Variable phi_support = read(batch.support.features);
  const Variable phi_query = read(batch.query.features);
  const RatingPrediction before = model_.head(weights, phi_query);

  // Empty slots become rows of zeros, which change nothing.
  const Variable& used = batch.support.weight;
  const Variable s = mul(prior_features(prior, phi_support), unsqueeze(used, -1));
  const Variable residual =
      mul(sub(batch.support.stars, model_.head(weights, phi_support).stars), used);
  const Variable w = ridge_regression(s, unsqueeze(residual, -1), exp(prior["ridge.log_noise"]));
  const Variable moved = squeeze(matmul(prior_features(prior, phi_query), w), -1);
  return {add(before.like_logit, mul(exp(prior["ridge.log_like_gain"]), moved)),
          add(before.stars, moved)};
}

}  // namespace mettle
