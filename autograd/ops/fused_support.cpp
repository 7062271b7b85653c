// The closing rule, and what fused operations check and allocate alike.
#include "autograd/ops/fused_support.h"

#include <limits>
#include <utility>
#include <vector>

namespace mettle::ops {
namespace {

/// The gradient of f as a function: (x..., dy...) -> dx..., null where zero or not floating.
Function adjoint_of(Function f, std::size_t inputs) {
  return [f = std::move(f), inputs](std::span<const Variable> arguments) {
    return vector_jacobian_product(f, arguments.first(inputs), arguments.subspan(inputs));
  };
}

}  // namespace

Variables closing_rule(const Function& reference, std::size_t inputs, std::size_t outputs,
                       std::span<const Variable> arguments, std::span<const Variable> cotangents,
                       std::span<const std::uint8_t> needed) {
  // (x, dy) -> dx, and its own gradient (x, dy, ddx) -> (dx2, ddy): what the two kernels compute.
  const Function backward = adjoint_of(reference, inputs);
  const Function double_backward = adjoint_of(backward, inputs + outputs);
  return vector_jacobian_product(double_backward, arguments, cotangents, needed);
}

Tensor empty_in_order_of(const Tensor& x, const Shape& shape) {
  if (x.is_contiguous()) return Tensor::empty(shape, x.dtype(), x.device());
  // A repeated axis (stride 0) has no place in memory of its own: it goes outermost. Equal strides
  // keep their order.
  std::vector<std::pair<std::int64_t, int>> outermost_first;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const std::int64_t stride = x.strides()[axis];
    outermost_first.emplace_back(stride == 0 ? std::numeric_limits<std::int64_t>::min() : -stride,
                                 axis);
  }
  std::sort(outermost_first.begin(), outermost_first.end());
  Shape in_memory;
  std::vector<int> place(outermost_first.size());
  for (const auto& [stride, axis] : outermost_first) {
    place[static_cast<std::size_t>(axis)] = in_memory.rank();
    in_memory.push_back(shape[axis]);
  }
  return Tensor::empty(in_memory, x.dtype(), x.device()).permute(place);
}

std::int64_t weight_groups(const Variable& x, const Variable& weight, const char* operation,
                           const char* weight_name) {
  if (!weight) return 1;
  check_same(x.value(), weight.value(), operation);
  const Shape &shape = x.shape(), &w = weight.shape();
  const bool shared = w.rank() == 1 && w[0] == shape.at(-1);
  const bool per_task =
      w.rank() == 2 && shape.rank() >= 2 && w[0] == shape[0] && w[1] == shape.at(-1);
  METTLE_CHECK(ShapeError, shared || per_task,
               "{}: {} of shape {} does not fit x of shape {}; it must be [D] for the last axis D "
               "of x, or [T, D] with one row for each index of x's first axis",
               operation, weight_name, to_string(w), to_string(shape));
  return per_task ? w[0] : 1;
}

std::int64_t norm_groups(const Variable& x, const Variable& gamma, const Variable& beta,
                         const char* operation) {
  check_floating(x.value(), operation);
  METTLE_CHECK(ShapeError, x.rank() >= 1 && x.size(-1) >= 1,
               "{}: x of shape {} has no last axis to normalise over", operation,
               to_string(x.shape()));
  const std::int64_t of_gamma = weight_groups(x, gamma, operation, "gamma");
  const std::int64_t of_beta = weight_groups(x, beta, operation, "beta");
  METTLE_CHECK(ShapeError, !gamma || !beta || gamma.shape() == beta.shape(),
               "{}: gamma of shape {} and beta of shape {} differ; expand() one of them", operation,
               to_string(gamma.shape()), to_string(beta.shape()));
  return std::max(of_gamma, of_beta);
}

Variable grouped_weight(const Variable& weight, int rank) {
  if (weight.rank() < 2 || rank == 2) return weight;
  Shape shape = Shape::filled(rank, 1);
  shape[0] = weight.size(0);
  shape[rank - 1] = weight.size(1);
  return reshape(weight, shape);
}

void check_constant(const Variable& v, const char* operation, const char* name,
                    const char* remedy) {
  METTLE_CHECK(AutogradError, !v.requires_grad(),
               "{}: {} is a constant and cannot require a gradient; {}", operation, name, remedy);
}

}  // namespace mettle::ops
