// Model-agnostic meta-learning: gradient descent on a support loss as a differentiable function of
// the initial weights and the inner rates. Finn, Abbeel and Levine, "Model-agnostic meta-learning
// for fast adaptation of deep networks", 2017; learned rates: Li et al., "Meta-SGD", 2017.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "models/params.h"

namespace mettle {

/// A scalar loss of given weights, pure: the same weights give the same loss (fix dropout's key).
using LossFunction = std::function<Variable(const Params&)>;

/// Which derivatives the outer gradient contains.
enum class MetaOrder {
  second,  // all
  first    // the inner gradients are taken for constants: FOMAML
};

/// How the inner steps are kept for the outer gradient.
enum class MetaMemory {
  taped,      // every step's graph: fastest
  recomputed  // every step's weights alone; its graph is made again when the gradient comes by
};

struct AdaptOptions {
  int steps = 1;
  MetaOrder order = MetaOrder::second;
  MetaMemory memory = MetaMemory::taped;
  /// T > 0: adapted weights get a leading task axis of this extent, so that one loss adapts T tasks
  /// at once. The support loss must then be the sum of the tasks' losses.
  std::int64_t tasks = 0;
};

/// One constant rate for every parameter whose name satisfies `adapted`; a null function means all.
Params inner_rates(const Params& params, double rate,
                   const std::function<bool(std::string_view)>& adapted = nullptr);

/// Gradient descent: w <- w - rate * d(support_loss)/dw, `steps` times, for the parameters named in
/// `rates`; the others are kept. A rate broadcasts to its parameter, so it can be one number or one
/// per element. The result is a function of `initial` and `rates` for grad() while recording is on.
/// ValueError for a rate without parameter, AutogradError, naming it, for an adapted parameter that
/// the loss does not depend on.
Params adapt(const Params& initial, const Params& rates, const LossFunction& support_loss,
             const AdaptOptions& options = {});

struct MetaGradient {
  Variable loss;      // query loss of the adapted weights, not recorded
  Params parameters;  // its gradient with respect to each of `initial`
  Params rates;       // and to each of `rates` that requires gradients; otherwise null
};

/// Gradient of query_loss(adapt(initial, rates, support_loss)). A gradient is null where the
/// parameter or rate requires none or has no influence. Rates may be computed from leaves, e.g. by
/// softplus to keep them positive: pass rates.values() with these gradients to grad() for the
/// leaves.
MetaGradient meta_gradient(const Params& initial, const Params& rates,
                           const LossFunction& support_loss, const LossFunction& query_loss,
                           const AdaptOptions& options = {});

/// Some of a meta-batch's tasks, options.tasks of them.
struct TaskGroup {
  LossFunction support_loss, query_loss;
};

/// The gradient of the sum of all groups' query losses, each group on one thread: see grad_of_sum()
/// for what that asks of the loss functions. On several cores this is much faster than one group of
/// all tasks while the operations are small. ValueError for no groups.
MetaGradient meta_gradient(const Params& initial, const Params& rates,
                           std::span<const TaskGroup> groups, const AdaptOptions& options = {});

}  // namespace mettle
