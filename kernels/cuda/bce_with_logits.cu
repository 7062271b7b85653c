// The BCE-with-logits slots on CUDA: grids, and the second stage of sums over all elements.
#include "kernels/cuda/bce_with_logits.cuh"

#include "kernels/bce_with_logits.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/row_grid.h"

namespace mettle::kernels::cuda {
namespace {

template <class T, class Args> BceElements<T> elements(const Args& a) {
  using A = accumulate_t<T>;
  return {.n = a.n,
          .p = static_cast<A>(a.pos_weight),
          .boost = static_cast<A>(a.pos_weight - 1),
          .reduced = a.reduction != Reduction::none,
          .share = a.reduction == Reduction::mean ? 1 / static_cast<double>(a.n) : 1,
          .x = static_cast<const T*>(a.x),
          .target = static_cast<const T*>(a.target),
          .weight = static_cast<const T*>(a.weight)};
}

/// Launches the kernel, and where a total is wanted of several blocks, the sum of theirs.
template <int width, class T>
void launch(void (*kernel)(BceElements<T>), const Stream& stream, BceElements<T> a) {
  const std::int64_t each = std::int64_t{BceTile::threads} * width;
  const std::int64_t most = std::int64_t{device_limits(stream).multiprocessors} * 8;
  // Nothing has a sum too.
  const std::int64_t needed = std::max<std::int64_t>((a.n + each - 1) / each, a.total ? 1 : 0);
  const int blocks = static_cast<int>(std::min(needed, most));
  if (blocks == 0) return;
  const bool staged = a.total && blocks > 1;
  Scratch scratch(stream, staged ? blocks * sizeof(double) : 0);
  if (staged) a.partial = scratch.take<double>(static_cast<std::size_t>(blocks));
  dev::launch(kernel, {{blocks}, {BceTile::threads}}, stream, a);
  if (staged)
    dev::launch(add_bce_partials<accumulate_t<T>>, {{1}, {BceTile::threads}}, stream, a.partial,
                blocks, a.share, a.total);
}

/// f.template operator()<T, width>() for the type of the call and the alignment of its operands.
template <class F>
void with_packs(DType dtype, std::initializer_list<const void*> operands, const F& f) {
  dispatch_float(
      dtype,
      [&]<class T>() {
        rows_fit_packs<T>(0, operands) ? f.template operator()<T, pack_size<T>>()
                                       : f.template operator()<T, 1>();
      },
      "bce_with_logits");
}

void forward(const Stream& stream, const BceWithLogitsForwardArgs& a) {
  with_packs(a.dtype, {a.x, a.target, a.weight, a.loss, a.dx_of_one}, [&]<class T, int width>() {
    auto e = elements<T>(a);
    auto* loss = static_cast<accumulate_t<T>*>(a.loss);
    e.each = e.reduced ? nullptr : loss;
    e.total = e.reduced ? loss : nullptr;
    e.dx = static_cast<T*>(a.dx_of_one);
    launch<width>(bce_with_logits_forward_elements<T, width>, stream, e);
  });
}

void backward(const Stream& stream, const BceWithLogitsBackwardArgs& a) {
  with_packs(a.dtype, {a.x, a.target, a.weight, a.dloss, a.dx, a.dtarget},
             [&]<class T, int width>() {
               auto e = elements<T>(a);
               e.dloss = static_cast<const accumulate_t<T>*>(a.dloss);
               e.dx = static_cast<T*>(a.dx);
               e.dtarget = static_cast<T*>(a.dtarget);
               launch<width>(bce_with_logits_backward_elements<T, width>, stream, e);
             });
}

void double_backward(const Stream& stream, const BceWithLogitsDoubleBackwardArgs& a) {
  with_packs(a.dtype,
             {a.x, a.target, a.weight, a.dloss, a.ddx, a.ddtarget, a.dx2, a.dtarget2, a.ddloss},
             [&]<class T, int width>() {
               auto e = elements<T>(a);
               auto* ddloss = static_cast<accumulate_t<T>*>(a.ddloss);
               e.dloss = static_cast<const accumulate_t<T>*>(a.dloss);
               e.ddx = static_cast<const T*>(a.ddx);
               e.ddtarget = static_cast<const T*>(a.ddtarget);
               e.dx = static_cast<T*>(a.dx2);
               e.dtarget = static_cast<T*>(a.dtarget2);
               e.each = e.reduced ? nullptr : ddloss;
               e.total = e.reduced ? ddloss : nullptr;
               launch<width>(bce_with_logits_double_backward_elements<T, width>, stream, e);
             });
}

}  // namespace

void register_bce_with_logits() {
  bce_with_logits_forward.add({"packs", DeviceType::cuda, 10, nullptr, forward});
  bce_with_logits_backward.add({"packs", DeviceType::cuda, 10, nullptr, backward});
  bce_with_logits_double_backward.add({"packs", DeviceType::cuda, 10, nullptr, double_backward});
}

}  // namespace mettle::kernels::cuda
