// Launches layer_norm_double_backward.cuh and the second stage of its sums.
#include "kernels/cuda/layer_norm_double_backward.cuh"

#include "kernels/cuda/layer_norm_launch.h"
#include "kernels/cuda/layer_norm_tiles.h"

namespace mettle::kernels::cuda {
namespace {

/// Blocks of a multiprocessor at a time, by their registers.
template <class Tile> constexpr int resident() {
  if (!Tile::held) return 2;
  return Tile::packs * Tile::width <= 8 ? 2 : 1;
}

template <class T>
void run(const Stream& stream, const DropoutResidualLayerNormDoubleBackwardArgs& a, bool plain) {
  using A = accumulate_t<T>;
  const bool packs =
      rows_fit_packs<T>(a.columns, {a.s, a.gamma, a.dy, a.ddx, a.ddresidual, a.ddgamma, a.ddbeta,
                                    a.dx2, a.dresidual2, a.dgamma2, a.ddy, a.dds});
  with_norm_kernel<T, 4096>(a.columns, packs, plain, [&]<class Tile, bool fused>() {
    const GroupRows rows = group_rows<Tile>(stream, a.rows, a.groups, resident<Tile>());
    const StagedSums<T, 1> sums(stream, rows, a.groups, a.columns, Tile::held, {a.dgamma2});
    const NormDoubleBackward<T> args{rows,
                                     a.columns,
                                     norm_dropout<T>(plain, a.key, a.p),
                                     static_cast<const T*>(a.s),
                                     static_cast<const T*>(a.gamma),
                                     static_cast<const A*>(a.mean),
                                     static_cast<const A*>(a.rstd),
                                     static_cast<const T*>(a.dy),
                                     static_cast<const T*>(a.ddx),
                                     static_cast<const T*>(a.ddresidual),
                                     static_cast<const T*>(a.ddgamma),
                                     static_cast<const T*>(a.ddbeta),
                                     static_cast<T*>(a.dx2),
                                     static_cast<T*>(a.dresidual2),
                                     static_cast<T*>(a.ddy),
                                     static_cast<T*>(a.dds),
                                     sums.to()};
    if (a.rows > 0)
      dev::launch(layer_norm_double_backward_rows<Tile, fused>, row_grid<Tile>(rows, a.groups),
                  stream, args);
    sums.finish();
  });
}

}  // namespace

void launch_norm_double_backward(const Stream& stream,
                                 const DropoutResidualLayerNormDoubleBackwardArgs& a, bool plain,
                                 const char* operation) {
  dispatch_float(
      a.dtype, [&]<class T>() { run<T>(stream, a, plain); }, operation);
}

}  // namespace mettle::kernels::cuda
