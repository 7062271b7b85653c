// Reductions. The kept and the reduced axes are collapsed apart; then either whole rows are summed,
// or a tile of neighbouring outputs walks down the reduced axes together. Long reductions are cut
// into blocks of fixed length whose results are combined in order: neither threads nor strides
// change the bits of a sum.
#include "kernels/reduce.h"

#include <limits>
#include <vector>

#include "engine/parallel.h"
#include "kernels/cpu/reducer.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/cpu/tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduce.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The larger and the smaller of two, NaN if either is.
template <class T> struct Larger {
  HWY_INLINE T operator()(T a, T b) const { return (a > b || a != a) ? a : b; }
};
template <class T> struct Smaller {
  HWY_INLINE T operator()(T a, T b) const { return (a < b || a != a) ? a : b; }
};

// Sum of a tile: 8 columns of partial sums on every instruction set, combined in a fixed tree.
template <class T> T SumRow(const T* x, std::int64_t n) {
  T part[8] = {};
  std::int64_t j = 0;
  for (; j + 8 <= n; j += 8)
    for (int c = 0; c < 8; ++c) part[c] += x[j + c];
  for (int c = 0; j < n; ++j, ++c) part[c] += x[j];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

template <class T, class Better> T BestOfRow(const T* x, std::int64_t n) {
  T best = x[0];
  for (std::int64_t j = 1; j < n; ++j) best = Better()(best, x[j]);
  return best;
}

template <class T> void AddRow(const T* x, T* y, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) y[j] += x[j];
}

template <class T, class Better> void BetterIntoRow(const T* x, T* y, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) y[j] = Better()(x[j], y[j]);
}

template <class C> Reducer<C> Choose(ReduceOp op) {
  constexpr C infinity = std::numeric_limits<C>::infinity();
  switch (op) {
    case ReduceOp::sum: return {C{}, SumRow<C>, AddRow<C>};
    case ReduceOp::max: return {-infinity, BestOfRow<C, Larger<C>>, BetterIntoRow<C, Larger<C>>};
    case ReduceOp::min: return {infinity, BestOfRow<C, Smaller<C>>, BetterIntoRow<C, Smaller<C>>};
  }
  return {};
}

Reducer<float> ReducerF32(ReduceOp op) { return Choose<float>(op); }
Reducer<double> ReducerF64(ReduceOp op) { return Choose<double>(op); }

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {

HWY_EXPORT(ReducerF32);
HWY_EXPORT(ReducerF64);

namespace {

Reducer<float> reducer(ReduceOp op, float) { return HWY_DYNAMIC_DISPATCH(ReducerF32)(op); }
Reducer<double> reducer(ReduceOp op, double) { return HWY_DYNAMIC_DISPATCH(ReducerF64)(op); }

Reducer<std::int64_t> reducer(ReduceOp op, std::int64_t) {
  using I = std::int64_t;
  if (op == ReduceOp::sum)
    return {0,
            [](const I* x, std::int64_t n) {
              std::uint64_t sum = 0;
              for (std::int64_t j = 0; j < n; ++j) sum += static_cast<std::uint64_t>(x[j]);
              return static_cast<I>(sum);
            },
            [](const I* x, I* y, std::int64_t n) {
              for (std::int64_t j = 0; j < n; ++j)
                y[j] = static_cast<I>(static_cast<std::uint64_t>(y[j]) +
                                      static_cast<std::uint64_t>(x[j]));
            }};
  if (op == ReduceOp::min)
    return {std::numeric_limits<I>::max(),
            [](const I* x, std::int64_t n) { return *std::min_element(x, x + n); },
            [](const I* x, I* y, std::int64_t n) {
              for (std::int64_t j = 0; j < n; ++j) y[j] = std::min(x[j], y[j]);
            }};
  return {std::numeric_limits<I>::min(),
          [](const I* x, std::int64_t n) { return *std::max_element(x, x + n); },
          [](const I* x, I* y, std::int64_t n) {
            for (std::int64_t j = 0; j < n; ++j) y[j] = std::max(x[j], y[j]);
          }};
}

template <class T, class C> class Reduction {
 public:
  Reduction(const ReduceArgs& args, const Reducer<C>& how)
      : x_(static_cast<const T*>(args.x)), y_(static_cast<T*>(args.y)), how_(how) {
    const ReducedAxes axes = split_axes(args.shape, args.x_strides, args.reduced);
    kept_ = axes.kept;
    reduced_ = axes.reduced;
  }

  void run() {
    if (kept_.total == 0) return;
    const bool columns = kept_.rank > 0 && kept_.strides[0][kept_.rank - 1] == 1 &&
                         kept_.shape[kept_.rank - 1] >= 8 && reduced_.total > 0;
    const std::int64_t block = columns ? column_block : row_block;
    const std::int64_t blocks = std::max<std::int64_t>(1, (reduced_.total + block - 1) / block);
    partial_.assign(static_cast<std::size_t>(kept_.total * blocks), how_.start);
    if (columns) {
      reduce_columns(blocks);
    } else {
      reduce_rows(blocks);
    }
    C* total = partial_.data();
    for (std::int64_t b = 1; b < blocks; ++b)
      how_.into(total + b * kept_.total, total, kept_.total);
    store_tile(total, y_, kept_.total);
  }

 private:
  static constexpr std::int64_t row_block = 32 * tile_size;
  static constexpr std::int64_t column_block = 256;

  void reduce_rows(std::int64_t blocks) {
    if (reduced_.total == 0) return;
    const std::int64_t per_task =
        std::max<std::int64_t>(1, chunk_size / std::min(reduced_.total, row_block));
    parallel_for(kept_.total * blocks, per_task, [&](std::int64_t begin, std::int64_t end) {
      alignas(64) C buffer[tile_size];
      for (std::int64_t task = begin; task < end; ++task) {
        const std::int64_t b = task / kept_.total, output = task % kept_.total;
        const T* row = x_ + offset_of(kept_, 0, output);
        const std::int64_t stop = std::min(reduced_.total, (b + 1) * row_block);
        C sum = how_.start;
        for (std::int64_t at = b * row_block; at < stop; at += tile_size) {
          const std::int64_t n = std::min(tile_size, stop - at);
          const C tile = how_.row(load_tile<C>(row, reduced_, 0, at, n, buffer), n);
          how_.into(&tile, &sum, 1);
        }
        partial_[static_cast<std::size_t>(task)] = sum;
      }
    });
  }

  // One task: a tile of neighbouring outputs within the last kept axis, over one block of reduced
  // indices.
  void reduce_columns(std::int64_t blocks) {
    const std::int64_t width = kept_.shape[kept_.rank - 1];
    const std::int64_t tiles_per_run = (width + tile_size - 1) / tile_size;
    const std::int64_t tiles = kept_.total / width * tiles_per_run;
    const std::int64_t work = std::min(width, tile_size) * std::min(reduced_.total, column_block);
    parallel_for(tiles * blocks, std::max<std::int64_t>(1, chunk_size / work),
                 [&](std::int64_t begin, std::int64_t end) {
                   alignas(64) C buffer[tile_size];
                   for (std::int64_t task = begin; task < end; ++task) {
                     const std::int64_t b = task / tiles, tile = task % tiles;
                     const std::int64_t column = tile % tiles_per_run * tile_size;
                     const std::int64_t first = tile / tiles_per_run * width + column;
                     const std::int64_t n = std::min(tile_size, width - column);
                     add_block(x_ + offset_of(kept_, 0, first), b, n, buffer,
                               partial_.data() + b * kept_.total + first);
                   }
                 });
  }

  void add_block(const T* x, std::int64_t b, std::int64_t n, C* buffer, C* sum) {
    const std::int64_t from = b * column_block;
    const std::int64_t count = std::min(column_block, reduced_.total - from);
    for_each_run(reduced_, 0, from, count,
                 [&](std::int64_t at, std::int64_t stride, std::int64_t rows, std::int64_t) {
                   for (std::int64_t r = 0; r < rows; ++r) {
                     const T* row = x + at + r * stride;
                     if constexpr (std::is_same_v<T, C>) {
                       how_.into(row, sum, n);
                     } else {
                       for (std::int64_t j = 0; j < n; ++j) buffer[j] = static_cast<C>(row[j]);
                       how_.into(buffer, sum, n);
                     }
                   }
                 });
  }

  const T* x_;
  T* y_;
  Reducer<C> how_;
  Layout<1> kept_, reduced_;
  std::vector<C> partial_;
};

void run_reduce(const Stream&, const ReduceArgs& args) {
  if (args.dtype == DType::i64)
    return Reduction<std::int64_t, std::int64_t>(args, reducer(args.op, std::int64_t{})).run();
  if (args.dtype == DType::i32)
    return Reduction<std::int32_t, std::int64_t>(args, reducer(args.op, std::int64_t{})).run();
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        using C = accumulate_t<T>;
        Reduction<T, C>(args, reducer(args.op, C{})).run();
      },
      "reduction");
}

}  // namespace

void register_reduce() { reduce.add({"tiles", DeviceType::cpu, 0, nullptr, run_reduce}); }

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
