// Predictions without adaptation, after gradient steps, and by a closed-form head.
#include "recsys/neural/method.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "autograd/ops.h"
#include "engine/check.h"
#include "recsys/neural/loss.h"
#include "recsys/neural/ridge.h"

namespace mettle {
namespace {

struct MethodTraits {
  NeuralMethod method;
  std::string_view name;
};
constexpr MethodTraits kMethods[] = {
    {NeuralMethod::joint, "joint"}, {NeuralMethod::finetune, "joint+finetune"},
    {NeuralMethod::maml, "maml"},   {NeuralMethod::fomaml, "fomaml"},
    {NeuralMethod::anil, "anil"},   {NeuralMethod::ridge, "ridge"}};

// The support loss is the sum over the ratings, so that more ratings move the weights further;
// this constant gives rates a scale.
constexpr double kSupportLossScale = 0.1;

class NoAdaptation final : public FewShotMethod {
 public:
  explicit NoAdaptation(const NeuralRecommender& model) : model_(model) {}
  Params initial_adaptation(const Params&, Generator&) const override { return {}; }
  RatingPrediction predict(const Learned& learned, const MetaBatch& batch) const override {
    return model_(learned.weights, batch.query.features);
  }

 private:
  NeuralRecommender model_;
};

// Gradient descent on the support loss of all tasks at once.
class GradientSteps final : public FewShotMethod {
 public:
  GradientSteps(const NeuralRecommender& model, const AdaptationOptions& options, MetaOrder order)
      : model_(model), options_(options), order_(order) {}

  Params initial_adaptation(const Params& weights, Generator&) const override {
    Params rates;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::string& name = weights.names()[i];
      const bool head = is_head_weight(name);
      if (!head && !(is_encoder_weight(name) && options_.encoder_rate > 0.0)) continue;
      const double rate = head ? options_.head_rate : options_.encoder_rate;
      rates.add(name,
                full_like(weights.values()[i], std::log(std::expm1(rate))).detach_requires_grad());
    }
    return rates;
  }

  RatingPrediction predict(const Learned& learned, const MetaBatch& batch) const override {
    const Params& weights = learned.weights;
    Variables rates;
    for (const Variable& r : learned.adaptation.values()) rates.push_back(softplus(r));
    const Params adapted =
        adapt(weights, learned.adaptation.with_values(std::move(rates)),
              support_loss(weights, batch.support),
              {.steps = options_.steps, .order = order_, .tasks = batch.support.weight.size(0)});
    const Variable tokens = model_.tokens(weights, batch.query.features);
    return model_.head(adapted, model_.representation(adapted, tokens, batch.query.features));
  }

 private:
  // Tokens, and where only the head adapts the representation, are the same in every step.
  LossFunction support_loss(const Params& weights, const RatingBatch& support) const {
    const FeatureBatch& rows = support.features;
    const auto fixed = [&](const Variable& x) {
      return order_ == MetaOrder::first ? x.detach() : x;
    };
    const Variable tokens = fixed(model_.tokens(weights, rows));
    if (options_.encoder_rate <= 0.0) {
      const Variable read = fixed(model_.representation(weights, tokens, rows));
      return [this, &support, read](const Params& params) {
        return mul(summed_loss(model_.head(params, read), support), kSupportLossScale);
      };
    }
    return [this, &support, tokens](const Params& params) {
      const Variable read = model_.representation(params, tokens, support.features);
      return mul(summed_loss(model_.head(params, read), support), kSupportLossScale);
    };
  }

  NeuralRecommender model_;
  AdaptationOptions options_;
  MetaOrder order_;
};

}  // namespace

std::string_view method_name(NeuralMethod method) {
  for (const MethodTraits& m : kMethods)
    if (m.method == method) return m.name;
  fail<ValueError>("method: unknown number {}", static_cast<int>(method));
}

NeuralMethod parse_method(std::string_view name) {
  std::vector<std::string_view> names;
  for (const MethodTraits& m : kMethods) {
    if (m.name == name) return m.method;
    names.push_back(m.name);
  }
  fail<ValueError>("method: '{}' is none of {}", name, fmt::join(names, ", "));
}

std::shared_ptr<const FewShotMethod> make_method(NeuralMethod method,
                                                 const NeuralRecommender& model,
                                                 const AdaptationOptions& options) {
  METTLE_CHECK(ValueError, options.steps >= 1 && options.steps <= kMaxInnerSteps,
               "adaptation: {} inner steps, expected from 1 to {}", options.steps, kMaxInnerSteps);
  const auto steps = [&](MetaOrder order) {
    return std::make_shared<GradientSteps>(model, options, order);
  };
  switch (method) {
    case NeuralMethod::joint: return std::make_shared<NoAdaptation>(model);
    case NeuralMethod::finetune: return steps(MetaOrder::first);
    case NeuralMethod::maml: return steps(MetaOrder::second);
    case NeuralMethod::fomaml: return steps(MetaOrder::first);
    case NeuralMethod::anil: {
      AdaptationOptions head_only = options;
      head_only.encoder_rate = 0.0;
      return std::make_shared<GradientSteps>(model, head_only, MetaOrder::second);
    }
    case NeuralMethod::ridge: return std::make_shared<RidgeHead>(model, options.ridge_factors);
  }
  fail<ValueError>("method: unknown number {}", static_cast<int>(method));
}

}  // namespace mettle
