// Sums and extrema over axes, in a fixed order.
//
// Limited by memory: every element is read once. Rows: a row's neighbours in memory are reduced, by
// 1 to 32 lanes for a short row, by a block for a long one. Columns: neighbours belong to
// neighbouring results; a block of W columns by 256 / W rows walks down, lanes next to each other
// in memory. Either way a thread has four packs of 16 bytes in flight. Where there are too few
// results to fill a GPU, each is cut into chunks whose results pass through memory and are combined
// by a warp. How the work is cut depends on shape and strides, never on the GPU.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/layout.h"

namespace mettle::kernels::cuda {

inline constexpr int reduce_threads = 256;
inline constexpr int reduce_warps = reduce_threads / dev::warp_size;
inline constexpr int packs_in_flight = 4;

/// In which sums run and extrema are held.
template <class T>
using reduced_t = std::conditional_t<std::is_integral_v<T>, std::int64_t, computed_t<T>>;

struct SumOf {
  template <class C> METTLE_DEVICE static C start() { return C{0}; }
  template <class C> METTLE_DEVICE static C combine(C a, C b) {
    if constexpr (std::is_integral_v<C>)  // wraps around
      return static_cast<C>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
    else
      return a + b;
  }
};
/// NaN when either is.
struct MaxOf {
  template <class C> METTLE_DEVICE static C start() {
    if constexpr (std::is_integral_v<C>)
      return -0x7fffffffffffffff - 1;
    else
      return static_cast<C>(-dev::infinity());
  }
  template <class C> METTLE_DEVICE static C combine(C a, C b) { return scalar::Maximum{}(a, b); }
};
struct MinOf {
  template <class C> METTLE_DEVICE static C start() {
    if constexpr (std::is_integral_v<C>)
      return 0x7fffffffffffffff;
    else
      return static_cast<C>(dev::infinity());
  }
  template <class C> METTLE_DEVICE static C combine(C a, C b) { return scalar::Minimum{}(a, b); }
};

/// One result per output, or, where the work is cut, partial[output * chunks + chunk].
template <class T> struct ReduceOutput {
  T* y;
  reduced_t<T>* partial;
  int chunks;

  METTLE_DEVICE void store(std::int64_t output, int chunk, reduced_t<T> value) const {
    if (partial != nullptr)
      partial[output * chunks + chunk] = value;
    else if constexpr (std::is_integral_v<T>)
      y[output] = static_cast<T>(value);
    else
      y[output] = narrow<T>(value);
  }
};

template <int V, class T>
METTLE_DEVICE dev::Pack<T, V> pack_at(const T* x, const StridedIndex<1>& packs, std::int64_t at) {
  return *reinterpret_cast<const dev::Pack<T, V>*>(x + packs.offset(at));
}
template <class Op, int V, class T, class C>
METTLE_DEVICE void take_pack(const dev::Pack<T, V>& in, C (&acc)[V]) {
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) acc[v] = Op::combine(acc[v], static_cast<C>(widen(in.at[v])));
}

/// acc[v] takes element v of every step-th pack from `from` on, up to `to`.
template <class Op, int V, class T, class C>
METTLE_DEVICE void take_packs(const T* x, const StridedIndex<1>& packs, std::int64_t from,
                              std::int64_t to, std::int64_t step, C (&acc)[V]) {
  std::int64_t at = from;
  for (; at + (packs_in_flight - 1) * step < to; at += packs_in_flight * step) {
    dev::Pack<T, V> in[packs_in_flight];
    METTLE_UNROLL
    for (int k = 0; k < packs_in_flight; ++k) in[k] = pack_at<V>(x, packs, at + k * step);
    METTLE_UNROLL
    for (int k = 0; k < packs_in_flight; ++k) take_pack<Op>(in[k], acc);
  }
  for (; at < to; at += step) take_pack<Op>(pack_at<V>(x, packs, at), acc);
}

template <class Op, int V, class C> METTLE_DEVICE C combine_all(C (&acc)[V]) {
  METTLE_UNROLL
  for (int half = V / 2; half > 0; half /= 2) {
    METTLE_UNROLL
    for (int v = 0; v < half; ++v) acc[v] = Op::combine(acc[v], acc[v + half]);
  }
  return acc[0];
}

// ---- rows ---------------------------------------------------------------------------------------
struct RowPlan {
  StridedIndex<1> kept;
  StridedIndex<1> packs;  // of the reduced axes
  int tail;               // elements behind the last pack, of a single reduced axis
  std::int64_t packs_of_chunk;
};

/// What lane `lane` of `lanes` makes of packs [from, to) of a row.
template <class Op, int V, class T>
METTLE_DEVICE reduced_t<T> reduce_part(const T* row, const RowPlan& p, std::int64_t from,
                                       std::int64_t to, int lane, int lanes) {
  using C = reduced_t<T>;
  C acc[V];
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) acc[v] = Op::template start<C>();
  take_packs<Op, V>(row, p.packs, from + lane, to, lanes, acc);
  if (to == p.packs.total)
    for (int i = lane; i < p.tail; i += lanes)
      acc[0] = Op::combine(acc[0], static_cast<C>(widen(row[to * V + i])));
  return combine_all<Op>(acc);
}

/// `lanes` neighbours, a power of two up to 32, reduce one row.
template <class Op, int V, class T>
METTLE_GLOBAL(reduce_threads)
void reduce_short_rows_kernel(const T* x, ReduceOutput<T> out, RowPlan p, int lanes) {
  const std::int64_t thread =
      std::int64_t{dev::block_index().x} * reduce_threads + dev::thread_index().x;
  const std::int64_t row = thread / lanes;
  const int lane = dev::thread_index().x % lanes;
  auto value = Op::template start<reduced_t<T>>();
  if (row < p.kept.total)
    value = reduce_part<Op, V>(x + p.kept.offset(row), p, 0, p.packs.total, lane, lanes);
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = Op::combine(value, dev::shuffle_xor(dev::full_warp, value, distance));
  if (lane == 0 && row < p.kept.total) out.store(row, 0, value);
}

/// One block reduces one chunk of a row.
template <class Op, int V, class T>
METTLE_GLOBAL(reduce_threads)
void reduce_long_rows_kernel(const T* x, ReduceOutput<T> out, RowPlan p) {
  METTLE_SHARED(reduced_t<T>, of_warp, reduce_warps);
  const std::int64_t row = dev::block_index().x / out.chunks;
  const auto chunk = static_cast<int>(dev::block_index().x - row * out.chunks);
  const std::int64_t from = chunk * p.packs_of_chunk;
  const std::int64_t to =
      from + p.packs_of_chunk < p.packs.total ? from + p.packs_of_chunk : p.packs.total;
  auto value = reduce_part<Op, V>(x + p.kept.offset(row), p, from, to, dev::thread_index().x,
                                  reduce_threads);
  METTLE_UNROLL
  for (int distance = dev::warp_size / 2; distance > 0; distance /= 2)
    value = Op::combine(value, dev::shuffle_xor(dev::full_warp, value, distance));
  if (dev::lane_index() == 0) of_warp[dev::warp_index()] = value;
  dev::sync_block();
  if (dev::thread_index().x != 0) return;
  for (int warp = 1; warp < reduce_warps; ++warp) value = Op::combine(value, of_warp[warp]);
  out.store(row, chunk, value);
}

// ---- columns ------------------------------------------------------------------------------------
struct ColumnPlan {
  StridedIndex<1> packs;  // of the kept axes
  StridedIndex<1> reduced;
  int width;  // packs across a block: a power of two up to 32
  int blocks_across;
  std::int64_t rows_of_chunk;
};

template <class Op, int V, class T>
METTLE_GLOBAL(reduce_threads)
void reduce_columns_kernel(const T* x, ReduceOutput<T> out, ColumnPlan p) {
  using C = reduced_t<T>;
  METTLE_SHARED(C, of_warp, reduce_warps * dev::warp_size * V);
  const int chunk = dev::block_index().x / p.blocks_across;
  const std::int64_t first_pack =
      std::int64_t{dev::block_index().x - chunk * p.blocks_across} * p.width;
  const int column = dev::thread_index().x % p.width, row = dev::thread_index().x / p.width;
  const std::int64_t from = chunk * p.rows_of_chunk;
  const std::int64_t to =
      from + p.rows_of_chunk < p.reduced.total ? from + p.rows_of_chunk : p.reduced.total;
  C acc[V];
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) acc[v] = Op::template start<C>();
  if (first_pack + column < p.packs.total)
    take_packs<Op, V>(x + p.packs.offset(first_pack + column), p.reduced, from + row, to,
                      reduce_threads / p.width, acc);
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) {
    for (int distance = dev::warp_size / 2; distance >= p.width; distance /= 2)
      acc[v] = Op::combine(acc[v], dev::shuffle_xor(dev::full_warp, acc[v], distance));
    if (dev::lane_index() < p.width)
      of_warp[(dev::warp_index() * p.width + column) * V + v] = acc[v];
  }
  dev::sync_block();
  const int outputs = p.width * V, mine = dev::thread_index().x;
  const std::int64_t output = first_pack * V + mine;
  if (mine >= outputs || output >= p.packs.total * V) return;
  C value = of_warp[mine];
  for (int warp = 1; warp < reduce_warps; ++warp)
    value = Op::combine(value, of_warp[warp * outputs + mine]);
  out.store(output, chunk, value);
}

// ---- chunks -------------------------------------------------------------------------------------
/// One warp combines the chunks of one output.
template <class Op, class T>
METTLE_GLOBAL(reduce_threads)
void reduce_chunks_kernel(ReduceOutput<T> parts, T* y, std::int64_t outputs) {
  using C = reduced_t<T>;
  const std::int64_t output = std::int64_t{dev::block_index().x} * reduce_warps + dev::warp_index();
  C value = Op::template start<C>();
  if (output < outputs)
    for (int chunk = dev::lane_index(); chunk < parts.chunks; chunk += dev::warp_size)
      value = Op::combine(value, parts.partial[output * parts.chunks + chunk]);
  METTLE_UNROLL
  for (int distance = dev::warp_size / 2; distance > 0; distance /= 2)
    value = Op::combine(value, dev::shuffle_xor(dev::full_warp, value, distance));
  if (dev::lane_index() == 0 && output < outputs)
    ReduceOutput<T>{y, nullptr, 1}.store(output, 0, value);
}

}  // namespace mettle::kernels::cuda
