// Functions of functions: recomputation, vector-Jacobian and Hessian-vector products.
#include "autograd/grad.h"
#include "autograd/node.h"
#include "autograd/ops.h"

namespace mettle {

Variables vector_jacobian_product(const Function& f, std::span<const Variable> inputs,
                                  std::span<const Variable> cotangents,
                                  std::span<const std::uint8_t> needed) {
  const bool recording = grad_enabled();
  const GradMode on(true);
  Variables arguments;  // distinct handles, so that one variable passed twice gets two gradients
  for (const Variable& x : inputs) {
    if (!x || !is_floating(x.dtype())) {
      arguments.push_back(x);
    } else if (recording && x.requires_grad()) {
      arguments.push_back(alias(x));
    } else {
      arguments.push_back(x.detach_requires_grad());
    }
  }
  const Variables outputs = f(arguments);
  METTLE_CHECK(AutogradError, outputs.size() == cotangents.size(),
               "vector_jacobian_product: {} outputs but {} cotangents", outputs.size(),
               cotangents.size());
  Variables reachable, dys;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!cotangents[i] || !outputs[i].requires_grad()) continue;
    reachable.push_back(outputs[i]);
    dys.push_back(cotangents[i]);
  }
  Variables wanted, results(inputs.size());
  std::vector<std::size_t> place;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!arguments[i].requires_grad() || (!needed.empty() && !needed[i])) continue;
    wanted.push_back(arguments[i]);
    place.push_back(i);
  }
  if (reachable.empty() || wanted.empty()) return results;
  Variables gradients = grad(
      reachable, wanted, {.create_graph = recording, .allow_unused = true, .grad_outputs = dys});
  for (std::size_t i = 0; i < place.size(); ++i) results[place[i]] = std::move(gradients[i]);
  return results;
}

Variables checkpoint(const Function& f, std::span<const Variable> inputs) {
  std::vector<Tensor> values;
  {
    const NoGrad off;
    for (const Variable& y : f(inputs)) values.push_back(y.value());
  }
  std::vector<const Variable*> pointers;
  std::vector<Saved> saved;
  for (const Variable& x : inputs) {
    pointers.push_back(&x);
    saved.emplace_back(x);
  }
  return record_all("checkpoint", values, pointers, [f, saved](const Backward& b) {
    Variables again;
    for (const Saved& s : saved) again.push_back(b(s));
    return vector_jacobian_product(f, again, b.dys(), b.needed());
  });
}

Variables hessian_vector_product(const Function& f, std::span<const Variable> inputs,
                                 std::span<const Variable> vectors) {
  METTLE_CHECK(AutogradError, inputs.size() == vectors.size(),
               "hessian_vector_product: {} inputs but {} vectors", inputs.size(), vectors.size());
  const GradMode on(true);
  Variables at;
  for (const Variable& x : inputs) at.push_back(x.detach_requires_grad());
  const Variables y = f(at);
  METTLE_CHECK(AutogradError, y.size() == 1 && y[0].numel() == 1,
               "hessian_vector_product: the function must return one scalar");
  const Variables first = grad(y[0], at, {.create_graph = true, .allow_unused = true});
  Variables slopes, directions;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!first[i].requires_grad()) continue;
    slopes.push_back(first[i]);
    directions.push_back(vectors[i]);
  }
  Variables product(inputs.size());
  if (!slopes.empty())
    product = grad(slopes, at, {.allow_unused = true, .grad_outputs = directions});
  for (std::size_t i = 0; i < product.size(); ++i)
    if (!product[i]) product[i] = full_like(inputs[i], 0.0);
  return product;
}

}  // namespace mettle
