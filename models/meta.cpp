// The inner loop, taped or recomputed, and the outer gradient through it.
#include "models/meta.h"

#include "autograd/grad.h"
#include "autograd/grad_of_sum.h"
#include "autograd/ops.h"
#include "engine/check.h"

namespace mettle {
namespace {

/// Where in the parameters each rate belongs.
std::vector<std::size_t> positions_of(const Params& rates, const Params& params) {
  std::vector<std::size_t> positions;
  for (const std::string& name : rates.names()) positions.push_back(params.position(name));
  return positions;
}

/// (...) -> (T, ...), the same for every task.
Variable for_tasks(const Variable& x, std::int64_t tasks) {
  Shape shape = x.shape();
  shape.insert(0, tasks);
  return expand(x, shape);
}

/// Puts the adapted parameters in their places.
Variables with_adapted(Variables all, std::span<const std::size_t> adapted,
                       std::span<const Variable> values) {
  for (std::size_t j = 0; j < adapted.size(); ++j) all[adapted[j]] = values[j];
  return all;
}

/// d(support_loss(params))/d(weights), null where there is none; recorded itself on demand.
Variables slopes_of(const LossFunction& support_loss, const Params& params,
                    const Variables& weights, bool record_gradient) {
  const GradMode on(true);
  const Variable loss = support_loss(params);
  METTLE_CHECK(ShapeError, loss.numel() == 1,
               "adapt: the support loss has shape {}; it must be a scalar",
               to_string(loss.shape()));
  return grad(loss, weights, {.create_graph = record_gradient, .allow_unused = true});
}

/// The adapted parameters after one step. They require gradients in `params`.
Variables step(const Params& params, const Params& rates, std::span<const std::size_t> adapted,
               const LossFunction& support_loss, bool record_gradient) {
  Variables weights;
  for (const std::size_t i : adapted) weights.push_back(params.values()[i]);
  const Variables slopes = slopes_of(support_loss, params, weights, record_gradient);
  for (std::size_t j = 0; j < adapted.size(); ++j) {
    METTLE_CHECK(AutogradError, slopes[j].defined(),
                 "adapt: the support loss does not depend on '{}'; leave it out of the rates",
                 rates.names()[j]);
    weights[j] = addcmul(weights[j], rates.values()[j], slopes[j], -1.0);
  }
  return weights;
}

/// The parameters with a variable to differentiate by wherever one is adapted.
Params differentiable(const Params& params, std::span<const std::size_t> adapted) {
  Variables values = params.values();
  for (const std::size_t i : adapted)
    if (!values[i].requires_grad()) values[i] = values[i].detach_requires_grad();
  return params.with_values(std::move(values));
}

}  // namespace

Params inner_rates(const Params& params, double rate,
                   const std::function<bool(std::string_view)>& adapted) {
  Params rates;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const std::string& name = params.names()[i];
    if (!adapted || adapted(name)) rates.add(name, full({}, rate, params.values()[i].dtype()));
  }
  return rates;
}

Params adapt(const Params& initial, const Params& rates, const LossFunction& support_loss,
             const AdaptOptions& options) {
  METTLE_CHECK(ValueError, options.steps >= 0 && options.tasks >= 0,
               "adapt: {} steps, {} tasks: neither can be negative", options.steps, options.tasks);
  const std::vector<std::size_t> adapted = positions_of(rates, initial);
  Variables values = initial.values();
  if (options.tasks > 0)
    for (const std::size_t i : adapted) values[i] = for_tasks(values[i], options.tasks);

  // By value: checkpoint() calls it again when the gradient is taken, long after adapt() returned.
  const auto next = [adapted, support_loss, order = options.order](const Params& params,
                                                                   const Params& with_rates) {
    const bool record_gradient = grad_enabled() && order == MetaOrder::second;
    return step(differentiable(params, adapted), with_rates, adapted, support_loss,
                record_gradient);
  };
  // The same as a function of all that it reads, for checkpoint().
  const auto recomputable = [next, initial, rates](std::span<const Variable> inputs) {
    const auto split = inputs.begin() + static_cast<std::ptrdiff_t>(initial.size());
    return next(initial.with_values({inputs.begin(), split}),
                rates.with_values({split, inputs.end()}));
  };
  for (int i = 0; i < options.steps; ++i) {
    Variables stepped;
    if (options.memory == MetaMemory::recomputed && options.order == MetaOrder::second) {
      Variables inputs = values;
      inputs.insert(inputs.end(), rates.values().begin(), rates.values().end());
      stepped = checkpoint(recomputable, inputs);
    } else {
      stepped = next(initial.with_values(values), rates);
    }
    values = with_adapted(std::move(values), adapted, stepped);
  }
  return initial.with_values(std::move(values));
}

MetaGradient meta_gradient(const Params& initial, const Params& rates,
                           const LossFunction& support_loss, const LossFunction& query_loss,
                           const AdaptOptions& options) {
  const TaskGroup all{support_loss, query_loss};
  return meta_gradient(initial, rates, std::span(&all, 1), options);
}

MetaGradient meta_gradient(const Params& initial, const Params& rates,
                           std::span<const TaskGroup> groups, const AdaptOptions& options) {
  Variables inputs;
  for (const Params* params : {&initial, &rates})
    inputs.insert(inputs.end(), params->values().begin(), params->values().end());
  const auto loss_of_group = [&](std::int64_t i) {
    const TaskGroup& group = groups[static_cast<std::size_t>(i)];
    Variable loss = group.query_loss(adapt(initial, rates, group.support_loss, options));
    METTLE_CHECK(ShapeError, loss.numel() == 1,
                 "meta_gradient: the query loss has shape {}; it must be a scalar",
                 to_string(loss.shape()));
    return loss;
  };
  SumGradient total = grad_of_sum(std::ssize(groups), loss_of_group, inputs);
  const auto split = total.gradients.begin() + static_cast<std::ptrdiff_t>(initial.size());
  return {std::move(total.sum), initial.with_values({total.gradients.begin(), split}),
          rates.with_values({split, total.gradients.end()})};
}

}  // namespace mettle
