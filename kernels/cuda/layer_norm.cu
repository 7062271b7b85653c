// The layer norm slots on CUDA: checks, and the launches of the plain form.
#include "kernels/layer_norm.h"

#include "kernels/argument_checks.h"
#include "kernels/cuda/layer_norm_launch.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/row_grid.h"

namespace mettle::kernels::cuda {
namespace {

constexpr const char* operation = "layer_norm";

void forward(const Stream& stream, const LayerNormForwardArgs& a) {
  check_normalised(operation, a.rows, a.columns, a.groups);
  launch_norm_forward(stream,
                      {a.dtype,
                       a.rows,
                       a.columns,
                       a.groups,
                       a.eps,
                       0,
                       {},
                       a.x,
                       nullptr,
                       a.gamma,
                       a.beta,
                       nullptr,
                       a.y,
                       a.mean,
                       a.rstd},
                      operation);
}

void backward(const Stream& stream, const LayerNormBackwardArgs& a) {
  check_normalised(operation, a.rows, a.columns, a.groups);
  launch_norm_backward(stream,
                       {a.dtype,
                        a.rows,
                        a.columns,
                        a.groups,
                        0,
                        {},
                        a.x,
                        a.gamma,
                        a.mean,
                        a.rstd,
                        a.dy,
                        nullptr,
                        a.dx,
                        nullptr,
                        a.dgamma,
                        a.dbeta},
                       true, operation);
}

void double_backward(const Stream& stream, const LayerNormDoubleBackwardArgs& a) {
  check_normalised(operation, a.rows, a.columns, a.groups);
  launch_norm_double_backward(
      stream,
      {a.dtype, a.rows, a.columns, a.groups,  0,        {},    a.x,     a.gamma,   a.mean, a.rstd,
       a.dy,    a.ddx,  nullptr,   a.ddgamma, a.ddbeta, a.dx2, nullptr, a.dgamma2, a.ddy,  nullptr},
      true, operation);
}

template <class Args> bool groups_fit(const Args& a) { return a.groups <= most_groups; }

}  // namespace

void register_layer_norm() {
  layer_norm_forward.add({"rows", DeviceType::cuda, 10, groups_fit, forward, most_groups_in_words});
  layer_norm_backward.add(
      {"rows", DeviceType::cuda, 10, groups_fit, backward, most_groups_in_words});
  layer_norm_double_backward.add(
      {"rows", DeviceType::cuda, 10, groups_fit, double_backward, most_groups_in_words});
}

}  // namespace mettle::kernels::cuda
