// How a trained recommender turns a few ratings of a new user into predictions for that user. All
// methods share one model and differ in what they do with the support.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "models/meta.h"
#include "recsys/meta_batch.h"
#include "recsys/neural/model.h"

namespace mettle {

enum class NeuralMethod {
  joint,     // trained on all ratings at once, no adaptation
  finetune,  // the same weights, gradient steps whose rate and number validation users choose
  maml,      // meta-trained, second order: Finn, Abbeel and Levine 2017
  fomaml,    // the same without derivatives of the inner gradients
  anil,  // second order, only the head adapts: Raghu et al., "Rapid learning or feature reuse?",
         // 2020
  ridge  // Bayesian linear regression on the meta-learned representation, in closed form:
         // Bertinetto et al., "Meta-learning with differentiable closed-form solvers", 2019
};
inline constexpr NeuralMethod kNeuralMethods[] = {NeuralMethod::joint, NeuralMethod::finetune,
                                                  NeuralMethod::maml,  NeuralMethod::fomaml,
                                                  NeuralMethod::anil,  NeuralMethod::ridge};

/// "joint", "joint+finetune", "maml", "fomaml", "anil", "ridge": names of tables and flags.
std::string_view method_name(NeuralMethod method);
/// ValueError, listing the names, for an unknown one.
NeuralMethod parse_method(std::string_view name);

/// Everything that training learns. `adaptation` belongs to the method: for gradient steps the
/// inner rate of every adapted weight, as the argument of a softplus, under the weight's name.
struct Learned {
  Params weights;
  Params adaptation;

  /// Where it is, and batches must be.
  Device device() const { return weights.values().at(0).device(); }
  Learned to(Device device) const { return {weights.to(device), adaptation.to(device)}; }
};

/// More inner gradient steps are refused.
inline constexpr int kMaxInnerSteps = 1000;

struct AdaptationOptions {
  int steps = 3;               // inner gradient steps, up to kMaxInnerSteps
  double head_rate = 0.1;      // initial inner rates
  double encoder_rate = 0.01;  // 0: only the head adapts, as always with anil
  int ridge_factors = 16;      // learned directions of the ridge head's prior
};

class FewShotMethod {
 public:
  virtual ~FewShotMethod() = default;
  /// What Learned::adaptation starts from.
  virtual Params initial_adaptation(const Params& weights, Generator& random) const = 0;
  /// Predictions for the query given the support; a differentiable function of `learned` while
  /// recording is on.
  virtual RatingPrediction predict(const Learned& learned, const MetaBatch& batch) const = 0;
};

/// ValueError for a number of inner steps that is not from 1 to kMaxInnerSteps.
std::shared_ptr<const FewShotMethod> make_method(NeuralMethod method,
                                                 const NeuralRecommender& model,
                                                 const AdaptationOptions& options);

}  // namespace mettle
