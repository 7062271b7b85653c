// Parts on the thread pool, then their results in order.
#include "autograd/grad_of_sum.h"

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "engine/check.h"
#include "engine/parallel.h"

namespace mettle {
namespace {

SumGradient gradient_of(const Variable& loss, std::int64_t part, std::span<const Variable> inputs) {
  METTLE_CHECK(ShapeError, loss.numel() == 1,
               "grad_of_sum: part {} has shape {}; reduce it to one element", part,
               to_string(loss.shape()));
  return {loss.detach(), grad(Variables{loss}, inputs, {.allow_unused = true})};
}

void add_to(Variable& sum, Variable&& term) {
  if (term) sum = sum ? add(sum, term) : std::move(term);
}

}  // namespace

SumGradient grad_of_sum(std::int64_t parts, const PartOfSum& part,
                        std::span<const Variable> inputs) {
  METTLE_CHECK(ValueError, parts > 0, "grad_of_sum: {} parts; there must be one at least", parts);
  std::vector<SumGradient> results(static_cast<std::size_t>(parts));
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const GradMode on(true);
    for (std::int64_t i = begin; i < end; ++i)
      results[static_cast<std::size_t>(i)] = gradient_of(part(i), i, inputs);
  };
  // A CUDA device has one queue: threads that feed it would only wait for each other.
  if (inputs.empty() || inputs[0].device() == Device::cpu()) {
    parallel_for(parts, 1, run);
  } else {
    run(0, parts);
  }
  const NoGrad off;
  SumGradient total = std::move(results[0]);
  for (std::size_t i = 1; i < results.size(); ++i) {
    add_to(total.sum, std::move(results[i].sum));
    for (std::size_t j = 0; j < inputs.size(); ++j)
      add_to(total.gradients[j], std::move(results[i].gradients[j]));
  }
  return total;
}

}  // namespace mettle
