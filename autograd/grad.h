// Gradients as a function: nothing is accumulated in the variables, and a gradient is a Variable
// that can be differentiated again.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "autograd/variable.h"

namespace mettle {

struct GradOptions {
  /// Record the gradient computation itself, so that its results can be differentiated.
  bool create_graph = false;
  /// Return a null Variable for an input that the outputs do not depend on, instead of throwing.
  bool allow_unused = false;
  /// Keep the saved tensors for another grad() through the same graph. Default: as create_graph.
  std::optional<bool> retain_graph = std::nullopt;
  /// Cotangents, one per output; a null one means zero. May be empty when every output has one
  /// element: then each is 1.
  Variables grad_outputs = {};
  /// Called with (index into inputs, gradient) as soon as that gradient is complete, while the rest
  /// of the backward pass still runs: communication of finished gradients starts here.
  std::function<void(std::size_t, const Variable&)> on_ready = nullptr;
};

/// d(sum of outputs . grad_outputs)/d(inputs), one Variable per input, of its shape and dtype.
/// Inputs may be leaves or interior values. Throws AutogradError for an output that requires no
/// gradient, an unused input, a freed graph, or a saved tensor that was modified in place;
/// ShapeError and DTypeError for cotangents that do not fit.
Variables grad(std::span<const Variable> outputs, std::span<const Variable> inputs,
               const GradOptions& options = {});
inline Variables grad(const Variable& output, std::span<const Variable> inputs,
                      const GradOptions& options = {}) {
  return grad(std::span(&output, 1), inputs, options);
}
inline Variables grad(const Variable& output, std::initializer_list<Variable> inputs,
                      const GradOptions& options = {}) {
  return grad(std::span(&output, 1), std::span(inputs.begin(), inputs.size()), options);
}

/// A function from variables to variables, pure: the same inputs give the same outputs.
using Function = std::function<Variables(std::span<const Variable>)>;

/// f(inputs) without keeping what f records: the backward pass runs f once more. Memory for time,
/// at every order of differentiation. Gradients flow to `inputs` only, not to variables that f
/// captures.
Variables checkpoint(const Function& f, std::span<const Variable> inputs);

/// Gradients of `f` at `inputs` for these cotangents (null = zero), as functions of inputs and
/// cotangents: with recording on they can be differentiated to any order. needed[i] == 0 leaves
/// result i null; an empty list means all. Inputs may be null or integer; their result is null.
/// This is how a fused operation closes its orders of derivative beyond those it has kernels for.
Variables vector_jacobian_product(const Function& f, std::span<const Variable> inputs,
                                  std::span<const Variable> cotangents,
                                  std::span<const std::uint8_t> needed = {});

/// Hessian-vector product of a scalar function: H(inputs) * vectors, one per input, not recorded.
Variables hessian_vector_product(const Function& f, std::span<const Variable> inputs,
                                 std::span<const Variable> vectors);

}  // namespace mettle
