// Running sums along one axis of a dense (outer, n, inner).
//
// Limited by memory: two accesses per element. Many columns: each thread walks down one, neighbours
// in memory by neighbouring lanes, four rows in flight. Few lines: blocks take tiles of a line and
// add up by shuffles; a long line is cut into chunks whose sums are found first (a third access),
// so that every chunk knows where to start. The order of additions depends on the shape only.
#pragma once

#include "kernels/cuda/block_scan.cuh"
#include "kernels/cuda/elementwise.cuh"

namespace mettle::kernels::cuda {

inline constexpr int scan_threads = 256;
inline constexpr int scan_per_thread = 4;
inline constexpr int scan_tile = scan_threads * scan_per_thread;

/// In which sums run; unsigned, so that integers wrap around.
template <class T>
using running_t = std::conditional_t<std::is_integral_v<T>, std::uint64_t, computed_t<T>>;

template <class T> METTLE_DEVICE running_t<T> to_running(T x) {
  return static_cast<running_t<T>>(widen(x));
}
template <class T> METTLE_DEVICE T from_running(running_t<T> x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(x);
  else
    return narrow<T>(x);
}

template <class T>
METTLE_GLOBAL(scan_threads)
void scan_columns_kernel(const T* x, T* y, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  constexpr int in_flight = 4;
  const std::int64_t column =
      std::int64_t{dev::block_index().x} * scan_threads + dev::thread_index().x;
  if (column >= outer * inner) return;
  const std::int64_t start = column / inner * n * inner + column % inner;
  running_t<T> sum{};
  std::int64_t i = 0;
  for (; i + in_flight <= n; i += in_flight) {
    T in[in_flight];
    METTLE_UNROLL
    for (int k = 0; k < in_flight; ++k) in[k] = x[start + (i + k) * inner];
    METTLE_UNROLL
    for (int k = 0; k < in_flight; ++k) {
      sum += to_running(in[k]);
      y[start + (i + k) * inner] = from_running<T>(sum);
    }
  }
  for (; i < n; ++i) {
    sum += to_running(x[start + i * inner]);
    y[start + i * inner] = from_running<T>(sum);
  }
}

/// A line of n elements `step` apart in chunks; each block has one chunk.
struct ScanLines {
  std::int64_t n, step;
  int chunks;
  std::int64_t chunk;  // elements

  METTLE_DEVICE std::int64_t line() const { return dev::block_index().x / chunks; }
  METTLE_DEVICE std::int64_t first() const { return dev::block_index().x % chunks * chunk; }
  METTLE_DEVICE std::int64_t last() const { return first() + chunk < n ? first() + chunk : n; }
  METTLE_DEVICE std::int64_t offset() const { return line() / step * n * step + line() % step; }
};

/// sums[block] = sum of the block's chunk.
template <class T>
METTLE_GLOBAL(scan_threads)
void sum_chunks_kernel(const T* x, running_t<T>* sums, ScanLines l) {
  METTLE_SHARED(running_t<T>, of_warp, scan_threads / dev::warp_size);
  running_t<T> sum{};
  for (std::int64_t i = l.first() + dev::thread_index().x; i < l.last(); i += scan_threads)
    sum += to_running(x[l.offset() + i * l.step]);
  running_t<T> total;
  block_sum_before(sum, of_warp, total);
  if (dev::thread_index().x == 0) sums[dev::block_index().x] = total;
}

/// Each warp makes the sums of the chunks of one line the sums of those before.
template <class C>
METTLE_GLOBAL(scan_threads)
void scan_chunks_kernel(C* sums, int chunks, std::int64_t lines) {
  const std::int64_t line =
      std::int64_t{dev::block_index().x} * (scan_threads / dev::warp_size) + dev::warp_index();
  C before{};
  for (int first = 0; first < chunks; first += dev::warp_size) {
    const int chunk = first + dev::lane_index();
    const bool mine = line < lines && chunk < chunks;
    const C sum = warp_running_sum(mine ? sums[line * chunks + chunk] : C{});
    const C below = dev::shuffle_up(dev::full_warp, sum, 1);
    if (mine) sums[line * chunks + chunk] = dev::lane_index() == 0 ? before : before + below;
    before += dev::shuffle(dev::full_warp, sum, dev::warp_size - 1);
  }
}

/// `before` holds what the chunks start with; null: 0.
template <class T>
METTLE_GLOBAL(scan_threads)
void scan_lines_kernel(const T* x, T* y, const running_t<T>* before, ScanLines l) {
  METTLE_SHARED(running_t<T>, of_warp, 2 * scan_threads / dev::warp_size);
  running_t<T> start = before != nullptr ? before[dev::block_index().x] : running_t<T>{};
  const std::int64_t offset = l.offset();
  int half = 0;  // of of_warp: the other one may still be read
  for (std::int64_t first = l.first(); first < l.last(); first += scan_tile) {
    const std::int64_t mine = first + dev::thread_index().x * scan_per_thread;
    running_t<T> sum[scan_per_thread];
    METTLE_UNROLL
    for (int k = 0; k < scan_per_thread; ++k) {
      sum[k] = mine + k < l.last() ? to_running(x[offset + (mine + k) * l.step]) : running_t<T>{};
      if (k > 0) sum[k] += sum[k - 1];
    }
    running_t<T> total;
    const running_t<T> ahead = block_sum_before(
        sum[scan_per_thread - 1], of_warp + half * (scan_threads / dev::warp_size), total);
    half = 1 - half;
    METTLE_UNROLL
    for (int k = 0; k < scan_per_thread; ++k)
      if (mine + k < l.last())
        y[offset + (mine + k) * l.step] = from_running<T>(start + (ahead + sum[k]));
    start += total;
  }
}

}  // namespace mettle::kernels::cuda
