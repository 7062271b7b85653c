// Launching reductions: which axes run along memory decides how blocks walk.
#pragma once

#include <algorithm>

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/scratch.h"
#include "kernels/reduce.h"

namespace mettle::kernels::cuda {

/// Max and min.
void reduce_extrema(const Stream& stream, const ReduceArgs& args);

// So many blocks fill a GPU; a constant, because the order of additions must not depend on it.
inline constexpr std::int64_t enough_blocks = 512;

inline std::int64_t last_stride(const Layout<1>& l) {
  if (l.rank == 0) return 0;
  const std::int64_t stride = l.strides[0][l.rank - 1];
  return stride < 0 ? -stride : stride;
}

inline std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

inline int power_of_two_for(std::int64_t n) {
  int width = 1;
  while (width < dev::warp_size && width < n) width *= 2;
  return width;
}

/// In how many chunks a reduction of `steps` steps of a block is cut, when there are `blocks`
/// blocks without cutting: at least eight steps each.
inline int chunks_for(std::int64_t blocks, std::int64_t steps) {
  const std::int64_t chunks = std::min(divide_up(enough_blocks, blocks), steps / 8);
  return static_cast<int>(std::max<std::int64_t>(1, chunks));
}

template <class Op, class T> class Reducing {
 public:
  Reducing(const Stream& stream, const ReduceArgs& args, const ReducedAxes& axes)
      : stream_(stream),
        x_(static_cast<const T*>(args.x)),
        y_(static_cast<T*>(args.y)),
        kept_(axes.kept),
        reduced_(axes.reduced) {}

  void run() const {
    constexpr int pack = 16 / static_cast<int>(sizeof(T));
    const bool columns = kept_.total > 1 && last_stride(kept_) != 0 &&
                         (reduced_.total <= 1 || last_stride(reduced_) == 0 ||
                          last_stride(kept_) < last_stride(reduced_));
    if (columns) return columns_in_packs(pack) ? reduce_columns<pack>() : reduce_columns<1>();
    return rows_in_packs(pack) ? reduce_rows<pack>() : reduce_rows<1>();
  }

 private:
  // Every operand offset of the other axes is a multiple of a pack.
  static bool keeps_alignment(const Layout<1>& l, int pack) {
    for (int axis = 0; axis < l.rank; ++axis)
      if (l.strides[0][axis] % pack != 0) return false;
    return true;
  }
  bool columns_in_packs(int pack) const {
    const int last = kept_.rank - 1;
    return last_stride(kept_) == 1 && kept_.shape[last] % pack == 0 &&
           kept_.total / pack >= dev::warp_size && runs_in_packs(kept_, 0, pack, x_, sizeof(T)) &&
           keeps_alignment(reduced_, pack);
  }
  bool rows_in_packs(int pack) const {
    if (reduced_.rank == 0 || reduced_.strides[0][reduced_.rank - 1] != 1) return false;
    return (reduced_.rank == 1 || reduced_.shape[reduced_.rank - 1] % pack == 0) &&
           runs_in_packs(reduced_, 0, pack, x_, sizeof(T)) && keeps_alignment(kept_, pack);
  }

  template <int V> void reduce_rows() const {
    RowPlan p;
    p.kept = strided_index(kept_);
    p.tail = reduced_.rank == 1 ? static_cast<int>(reduced_.total % V) : 0;
    Layout<1> whole = reduced_;
    if (p.tail > 0) whole.total = whole.shape[0] = reduced_.total - p.tail;
    p.packs = strided_index(V == 1 ? whole : in_packs(whole, V));
    const std::int64_t packs = p.packs.total;
    p.packs_of_chunk = packs;
    if (packs <= reduce_threads || (packs <= 1024 && kept_.total >= 8 * enough_blocks)) {
      const int lanes = power_of_two_for(divide_up(packs, packs_in_flight));
      const auto blocks = divide_up(kept_.total * lanes, reduce_threads);
      return dev::launch(reduce_short_rows_kernel<Op, V, T>, shape(blocks), stream_, x_,
                         ReduceOutput<T>{y_, nullptr, 1}, p, lanes);
    }
    const int chunks = chunks_for(kept_.total, divide_up(packs, reduce_threads));
    p.packs_of_chunk = divide_up(divide_up(packs, chunks), reduce_threads) * reduce_threads;
    in_chunks(static_cast<int>(divide_up(packs, p.packs_of_chunk)),
              [&](const ReduceOutput<T>& out) {
                dev::launch(reduce_long_rows_kernel<Op, V, T>, shape(kept_.total * out.chunks),
                            stream_, x_, out, p);
              });
  }

  template <int V> void reduce_columns() const {
    ColumnPlan p;
    p.packs = strided_index(V == 1 ? kept_ : in_packs(kept_, V));
    p.reduced = strided_index(reduced_);
    p.width = power_of_two_for(p.packs.total);
    p.blocks_across = static_cast<int>(divide_up(p.packs.total, p.width));
    const std::int64_t rows = reduce_threads / p.width;
    const int chunks =
        chunks_for(p.blocks_across, divide_up(reduced_.total, rows * packs_in_flight));
    p.rows_of_chunk = std::max<std::int64_t>(1, divide_up(reduced_.total, chunks));
    in_chunks(
        static_cast<int>(std::max<std::int64_t>(1, divide_up(reduced_.total, p.rows_of_chunk))),
        [&](const ReduceOutput<T>& out) {
          dev::launch(reduce_columns_kernel<Op, V, T>,
                      shape(std::int64_t{p.blocks_across} * out.chunks), stream_, x_, out, p);
        });
  }

  template <class Launch> void in_chunks(int chunks, Launch&& launch) const {
    if (chunks == 1) return launch(ReduceOutput<T>{y_, nullptr, 1});
    const auto count = static_cast<std::size_t>(kept_.total) * static_cast<std::size_t>(chunks);
    Scratch scratch(stream_, Scratch::sum(count * sizeof(reduced_t<T>)));
    const ReduceOutput<T> parts{y_, scratch.take<reduced_t<T>>(count), chunks};
    launch(parts);
    dev::launch(reduce_chunks_kernel<Op, T>, shape(divide_up(kept_.total, reduce_warps)), stream_,
                parts, y_, kept_.total);
  }

  static dev::LaunchShape shape(std::int64_t blocks) {
    return {{static_cast<int>(blocks)}, {reduce_threads}};
  }

  Stream stream_;
  const T* x_;
  T* y_;
  Layout<1> kept_, reduced_;
};

template <class Op> void reduce_with(const Stream& stream, const ReduceArgs& args) {
  const ReducedAxes axes = split_axes(args.shape, args.x_strides, args.reduced);
  if (axes.kept.total == 0) return;
  if (args.dtype == DType::i64) return Reducing<Op, std::int64_t>(stream, args, axes).run();
  if (args.dtype == DType::i32) return Reducing<Op, std::int32_t>(stream, args, axes).run();
  dispatch_float(
      args.dtype, [&]<class T>() { Reducing<Op, T>(stream, args, axes).run(); }, "reduction");
}

}  // namespace mettle::kernels::cuda
