// Launches layer_norm_forward.cuh.
#include "kernels/cuda/layer_norm_forward.cuh"

#include "kernels/cuda/layer_norm_launch.h"
#include "kernels/cuda/layer_norm_tiles.h"

namespace mettle::kernels::cuda {
namespace {

template <class T> void run(const Stream& stream, const DropoutResidualLayerNormForwardArgs& a) {
  using A = accumulate_t<T>;
  const bool plain = !a.s;
  const bool packs = rows_fit_packs<T>(a.columns, {a.x, a.residual, a.gamma, a.beta, a.s, a.y});
  with_norm_kernel<T>(a.columns, packs, plain, [&]<class Tile, bool fused>() {
    // Twice of what fits: blocks without sums down columns need not last.
    const GroupRows rows = group_rows<Tile>(stream, a.rows, a.groups, 2048 / Tile::block);
    const NormForward<T> args{rows,
                              a.columns,
                              static_cast<A>(a.eps),
                              norm_dropout<T>(plain, a.key, a.p),
                              static_cast<const T*>(a.x),
                              static_cast<const T*>(a.residual),
                              static_cast<const T*>(a.gamma),
                              static_cast<const T*>(a.beta),
                              static_cast<T*>(a.s),
                              static_cast<T*>(a.y),
                              static_cast<A*>(a.mean),
                              static_cast<A*>(a.rstd)};
    dev::launch(layer_norm_forward_rows<Tile, fused>, row_grid<Tile>(rows, a.groups), stream, args);
  });
}

}  // namespace

void launch_norm_forward(const Stream& stream, const DropoutResidualLayerNormForwardArgs& a,
                         const char* operation) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        if (a.rows > 0) run<T>(stream, a);
      },
      operation);
}

}  // namespace mettle::kernels::cuda
