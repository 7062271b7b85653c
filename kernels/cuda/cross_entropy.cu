// The cross-entropy slots on CUDA.
#include "kernels/cuda/cross_entropy.cuh"

#include "kernels/argument_checks.h"
#include "kernels/cuda/cross_entropy_fault.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/row_grid.h"

namespace mettle::kernels::cuda {
namespace {

/// Whether the operands' packs of 16 bytes lie at the same classes of every row.
bool lie_alike(std::initializer_list<const void*> operands) {
  const void* first = *operands.begin();
  return std::all_of(operands.begin(), operands.end(), [&](const void* data) {
    return !data ||
           (reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(first)) %
                   16 ==
               0;
  });
}

/// Calls f.template operator()<Tile>() for the rows of `of`.
template <class F> void with_entropy_tile(const CrossEntropyRows& of, bool packs, const F& f) {
  check_cross_entropy(of);
  if (of.rows == 0) return;
  dispatch_float(
      of.dtype,
      [&]<class T>() {
        const auto with_width = [&]<int width>() {
          if (of.classes <= 1024) return f.template operator()<RowTile<T, width, 0, 32>>();
          if (of.classes <= 16384) return f.template operator()<RowTile<T, width, 0, 256>>();
          return f.template operator()<RowTile<T, width, 0, sizeof(T) == 8 ? 512 : 1024>>();
        };
        packs ? with_width.template operator()<pack_size<T>>()
              : with_width.template operator()<1>();
      },
      "cross_entropy");
}

template <class Tile, class T = typename Tile::T>
EntropyRows<T> entropy_rows(const Stream& stream, const CrossEntropyRows& of) {
  using A = accumulate_t<T>;
  return {.rows = group_rows<Tile>(stream, of.rows, 1, 2048 / Tile::block),
          .classes = of.classes,
          .ignore_index = of.ignore_index,
          .first_row = of.first_row,
          .smoothing = static_cast<A>(of.label_smoothing),
          .everywhere = static_cast<A>(of.label_smoothing / static_cast<double>(of.classes)),
          .wide = of.target_dtype == DType::i64,
          .logits = static_cast<const T*>(of.logits),
          .target = of.target,
          .fault = cross_entropy_fault(stream, of)};
}

void forward(const Stream& stream, const CrossEntropyForwardArgs& a) {
  with_entropy_tile(a.of, true, [&]<class Tile>() {
    using A = typename Tile::A;
    auto rows = entropy_rows<Tile>(stream, a.of);
    rows.loss = static_cast<A*>(a.loss);
    rows.new_highest = static_cast<A*>(a.highest);
    rows.new_inverse = static_cast<A*>(a.inverse);
    dev::launch(cross_entropy_forward_rows<Tile>, row_grid<Tile>(rows.rows, 1), stream, rows);
  });
}

void backward(const Stream& stream, const CrossEntropyBackwardArgs& a) {
  with_entropy_tile(a.of, lie_alike({a.of.logits, a.dlogits}), [&]<class Tile>() {
    using A = typename Tile::A;
    auto rows = entropy_rows<Tile>(stream, a.of);
    rows.highest = static_cast<const A*>(a.highest);
    rows.inverse = static_cast<const A*>(a.inverse);
    rows.dloss = static_cast<const A*>(a.dloss);
    rows.dlogits = static_cast<typename Tile::T*>(a.dlogits);
    dev::launch(cross_entropy_backward_rows<Tile>, row_grid<Tile>(rows.rows, 1), stream, rows);
  });
}

void double_backward(const Stream& stream, const CrossEntropyDoubleBackwardArgs& a) {
  with_entropy_tile(a.of, lie_alike({a.of.logits, a.ddlogits, a.dlogits2}), [&]<class Tile>() {
    using A = typename Tile::A;
    auto rows = entropy_rows<Tile>(stream, a.of);
    rows.highest = static_cast<const A*>(a.highest);
    rows.inverse = static_cast<const A*>(a.inverse);
    rows.dloss = static_cast<const A*>(a.dloss);
    rows.ddlogits = static_cast<const typename Tile::T*>(a.ddlogits);
    rows.dlogits = static_cast<typename Tile::T*>(a.dlogits2);
    rows.ddloss = static_cast<A*>(a.ddloss);
    dev::launch(cross_entropy_double_backward_rows<Tile>, row_grid<Tile>(rows.rows, 1), stream,
                rows);
  });
}

}  // namespace

void register_cross_entropy() {
  cross_entropy_forward.add({"rows", DeviceType::cuda, 10, nullptr, forward});
  cross_entropy_backward.add({"rows", DeviceType::cuda, 10, nullptr, backward});
  cross_entropy_double_backward.add({"rows", DeviceType::cuda, 10, nullptr, double_backward});
}

}  // namespace mettle::kernels::cuda
