// Launches layer_norm_backward.cuh and the second stage of its sums.
#include "kernels/cuda/layer_norm_backward.cuh"

#include "kernels/cuda/layer_norm_launch.h"
#include "kernels/cuda/layer_norm_tiles.h"

namespace mettle::kernels::cuda {
namespace {

/// Blocks of a multiprocessor at a time, by their registers.
template <class Tile, bool fused> constexpr int resident() {
  constexpr bool halves = sizeof(typename Tile::T) == 2;
  constexpr int values = Tile::packs * Tile::width;
  if (!Tile::held) return 2;
  if (Tile::threads == 512) return 1;
  if (values <= 8) return fused && !halves ? 2 : 3;
  if (values <= 16) return fused && !halves ? 1 : 2;
  return halves && !fused ? 2 : 1;
}

template <class T>
void run(const Stream& stream, const DropoutResidualLayerNormBackwardArgs& a, bool plain) {
  using A = accumulate_t<T>;
  const bool packs = rows_fit_packs<T>(
      a.columns, {a.s, a.gamma, a.dy, a.ds, a.dx, a.dresidual, a.dgamma, a.dbeta});
  with_norm_kernel<T>(a.columns, packs, plain, [&]<class Tile, bool fused>() {
    const GroupRows rows = group_rows<Tile>(stream, a.rows, a.groups, resident<Tile, fused>());
    const StagedSums<T, 2> sums(stream, rows, a.groups, a.columns, Tile::held, {a.dgamma, a.dbeta});
    const NormBackward<T> args{rows,
                               a.columns,
                               norm_dropout<T>(plain, a.key, a.p),
                               static_cast<const T*>(a.s),
                               static_cast<const T*>(a.gamma),
                               static_cast<const A*>(a.mean),
                               static_cast<const A*>(a.rstd),
                               static_cast<const T*>(a.dy),
                               static_cast<const T*>(a.ds),
                               static_cast<T*>(a.dx),
                               static_cast<T*>(a.dresidual),
                               sums.to()};
    if (a.rows > 0)
      dev::launch(layer_norm_backward_rows<Tile, fused>, row_grid<Tile>(rows, a.groups), stream,
                  args);
    sums.finish();
  });
}

}  // namespace

void launch_norm_backward(const Stream& stream, const DropoutResidualLayerNormBackwardArgs& a,
                          bool plain, const char* operation) {
  dispatch_float(
      a.dtype, [&]<class T>() { run<T>(stream, a, plain); }, operation);
}

}  // namespace mettle::kernels::cuda
