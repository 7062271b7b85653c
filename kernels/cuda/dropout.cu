// The dropout slots on CUDA. The fused kernels are layer norm's.
#include "kernels/cuda/dropout.cuh"

#include <algorithm>

#include "kernels/argument_checks.h"
#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/layer_norm_launch.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/row_grid.h"
#include "kernels/dropout.h"

namespace mettle::kernels::cuda {
namespace {

constexpr const char* fused_operation = "dropout_residual_layer_norm";

template <class T, int width> void run(const Stream& stream, const DropoutArgs& a) {
  using Tile = DropoutTile;
  const std::int64_t each = std::int64_t{Tile::threads} * Tile::packs * width;
  const std::int64_t most = std::int64_t{device_limits(stream).multiprocessors} * 16;
  const int grid = static_cast<int>(std::min((a.n + each - 1) / each, most));
  dev::launch(dropout_elements<T, width>, {{grid}, {Tile::threads}}, stream,
              static_cast<const T*>(a.x), static_cast<T*>(a.y), a.n,
              dropout_factors<accumulate_t<T>>(a.key, a.p));
}

void plain(const Stream& stream, const DropoutArgs& a) {
  check_drop_probability(a.p);
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        if (a.n == 0) return;
        if (packs_fit<T>(a.x, 0) && packs_fit<T>(a.y, 0))
          run<T, pack_size<T>>(stream, a);
        else
          run<T, 1>(stream, a);
      },
      "dropout");
}

template <class Args> void check_fused(const Args& a) {
  check_normalised(fused_operation, a.rows, a.columns, a.groups);
  check_drop_probability(a.p);
}

void forward(const Stream& stream, const DropoutResidualLayerNormForwardArgs& a) {
  check_fused(a);
  launch_norm_forward(stream, a, fused_operation);
}
void backward(const Stream& stream, const DropoutResidualLayerNormBackwardArgs& a) {
  check_fused(a);
  launch_norm_backward(stream, a, false, fused_operation);
}
void double_backward(const Stream& stream, const DropoutResidualLayerNormDoubleBackwardArgs& a) {
  check_fused(a);
  launch_norm_double_backward(stream, a, false, fused_operation);
}

template <class Args> bool groups_fit(const Args& a) { return a.groups <= most_groups; }

}  // namespace

void register_dropout() {
  dropout.add({"packs", DeviceType::cuda, 10, nullptr, plain});
  dropout_residual_layer_norm_forward.add(
      {"rows", DeviceType::cuda, 10, groups_fit, forward, most_groups_in_words});
  dropout_residual_layer_norm_backward.add(
      {"rows", DeviceType::cuda, 10, groups_fit, backward, most_groups_in_words});
  dropout_residual_layer_norm_double_backward.add(
      {"rows", DeviceType::cuda, 10, groups_fit, double_backward, most_groups_in_words});
}

}  // namespace mettle::kernels::cuda
