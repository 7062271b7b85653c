// The order of elements as the order of unsigned keys, and the index of an extreme element.
//
// arg_extremum is limited by memory: every element is read once. A row is walked by 1 to 32 lanes,
// a long one by a block; the dtype is looked at while the kernel runs, which costs nothing beside
// the memory. Sorting: see sort.cuh.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"
#include "kernels/order.h"

namespace mettle::kernels::cuda {

inline constexpr int order_threads = 256;
inline constexpr int order_warps = order_threads / dev::warp_size;

/// Bits of an element's key.
inline int key_bits(DType dtype) { return static_cast<int>(8 * size_of(dtype)); }

template <class Bits> METTLE_DEVICE std::uint64_t key_of_signed(Bits bits) {
  constexpr Bits sign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  return static_cast<Bits>(bits ^ sign);
}

/// Floating-point bits: the numbers in their order, -0 as 0. `nan` for those above infinity's.
template <class Bits>
METTLE_DEVICE std::uint64_t key_of_floating(Bits bits, Bits infinity, bool descending,
                                            std::uint64_t nan) {
  constexpr Bits sign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const auto magnitude = static_cast<Bits>(bits & ~sign);
  if (magnitude > infinity) return nan;
  if (magnitude == 0) bits = 0;
  const auto key = static_cast<Bits>((bits & sign) != 0 ? ~bits : bits | sign);
  return descending ? static_cast<Bits>(~key) : key;
}

/// The key of x[at]: smaller comes first. NaN comes last, or, with `nan_first`, first.
METTLE_DEVICE std::uint64_t order_key(const void* x, DType dtype, std::int64_t at, bool descending,
                                      bool nan_first) {
  switch (dtype) {
    case DType::f64:
      return key_of_floating<std::uint64_t>(static_cast<const std::uint64_t*>(x)[at],
                                            0x7ff0000000000000u, descending,
                                            nan_first ? 0 : ~std::uint64_t{0});
    case DType::f32:
      return key_of_floating<std::uint32_t>(static_cast<const std::uint32_t*>(x)[at], 0x7f800000u,
                                            descending, nan_first ? 0 : 0xffffffffu);
    case DType::bf16:
      return key_of_floating<std::uint16_t>(static_cast<const std::uint16_t*>(x)[at], 0x7f80u,
                                            descending, nan_first ? 0 : 0xffffu);
    case DType::f16:
      return key_of_floating<std::uint16_t>(static_cast<const std::uint16_t*>(x)[at], 0x7c00u,
                                            descending, nan_first ? 0 : 0xffffu);
    default: break;
  }
  std::uint64_t key = 0, all = 0xff;
  switch (dtype) {
    case DType::i64:
      key = key_of_signed(static_cast<const std::uint64_t*>(x)[at]);
      all = ~std::uint64_t{0};
      break;
    case DType::i32:
      key = key_of_signed(static_cast<const std::uint32_t*>(x)[at]);
      all = 0xffffffffu;
      break;
    case DType::i8: key = key_of_signed(static_cast<const std::uint8_t*>(x)[at]); break;
    default: key = static_cast<const std::uint8_t*>(x)[at];
  }
  return descending ? all - key : key;
}

METTLE_GLOBAL(order_threads)
void order_keys_kernel(const void* x, DType dtype, bool descending, std::int64_t total,
                       std::uint64_t* keys) {
  const std::int64_t i = std::int64_t{dev::block_index().x} * order_threads + dev::thread_index().x;
  if (i < total) keys[i] = order_key(x, dtype, i, descending, false);
}

/// indices(row, i) = positions(row, i) for i < keep.
METTLE_GLOBAL(order_threads)
void first_positions_kernel(const std::uint32_t* positions, std::int64_t n, std::int64_t keep,
                            std::int64_t total, std::int64_t* indices) {
  const std::int64_t i = std::int64_t{dev::block_index().x} * order_threads + dev::thread_index().x;
  if (i < total) indices[i] = positions[i / keep * n + i % keep];
}

struct Extremum {
  std::uint64_t key;
  std::int64_t index;

  METTLE_DEVICE void offer(std::uint64_t other_key, std::int64_t other_index) {
    if (other_key < key || (other_key == key && other_index < index)) {
      key = other_key;
      index = other_index;
    }
  }
  /// The best of `lanes` neighbours, a power of two.
  METTLE_DEVICE void join_lanes(int lanes, dev::Where where = dev::Where::current()) {
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
      const std::uint64_t other_key =
          dev::shuffle_xor(dev::full_warp, key, distance, dev::warp_size, where);
      const std::int64_t other_index =
          dev::shuffle_xor(dev::full_warp, index, distance, dev::warp_size, where);
      offer(other_key, other_index);
    }
  }
};

struct ExtremumRows {
  const void* x;
  DType dtype;
  bool descending;
  std::int64_t rows, n;
  std::int64_t* index;

  METTLE_DEVICE Extremum walk(std::int64_t row, int first, int step) const {
    constexpr int in_flight = 4;
    Extremum best = {~std::uint64_t{0}, n};
    std::int64_t i = first;
    for (; i + (in_flight - 1) * step < n; i += in_flight * step) {
      std::uint64_t key[in_flight];
      METTLE_UNROLL
      for (int k = 0; k < in_flight; ++k)
        key[k] = order_key(x, dtype, row * n + i + k * step, descending, true);
      METTLE_UNROLL
      for (int k = 0; k < in_flight; ++k) best.offer(key[k], i + k * step);
    }
    for (; i < n; i += step) best.offer(order_key(x, dtype, row * n + i, descending, true), i);
    return best;
  }
};

METTLE_GLOBAL(order_threads) void extremum_of_short_rows_kernel(ExtremumRows r, int lanes) {
  const std::int64_t thread =
      std::int64_t{dev::block_index().x} * order_threads + dev::thread_index().x;
  const std::int64_t row = thread / lanes;
  const int lane = dev::thread_index().x % lanes;
  Extremum best = {~std::uint64_t{0}, r.n};
  if (row < r.rows) best = r.walk(row, lane, lanes);
  best.join_lanes(lanes);
  if (row < r.rows && lane == 0) r.index[row] = best.index;
}

METTLE_GLOBAL(order_threads, 1) void extremum_of_long_rows_kernel(ExtremumRows r) {
  METTLE_SHARED(std::uint64_t, keys, order_warps);
  METTLE_SHARED(std::int64_t, indices, order_warps);
  const std::int64_t row = dev::block_index().x;
  Extremum best = r.walk(row, dev::thread_index().x, order_threads);
  best.join_lanes(dev::warp_size);
  if (dev::lane_index() == 0) {
    keys[dev::warp_index()] = best.key;
    indices[dev::warp_index()] = best.index;
  }
  dev::sync_block();
  if (dev::thread_index().x != 0) return;
  for (int warp = 1; warp < order_warps; ++warp) best.offer(keys[warp], indices[warp]);
  r.index[row] = best.index;
}

}  // namespace mettle::kernels::cuda
