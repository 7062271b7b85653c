// Copies of boxes: to shared memory and out of it as raw bytes, from raw bytes to the tensor, and
// mistakes with both, each at the line whose comment names it.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/hopper.h"

namespace mettle::emulation_test {

struct TensorPlace {
  int at[4];
};

template <int rank>
METTLE_DEVICE void copy_box(void* to, const dev::TensorMap* map, const TensorPlace& p,
                            dev::MBarrier* full) {
  if constexpr (rank == 2)
    dev::copy_tensor(to, map, {p.at[0], p.at[1]}, full);
  else if constexpr (rank == 3)
    dev::copy_tensor(to, map, {p.at[0], p.at[1], p.at[2]}, full);
  else
    dev::copy_tensor(to, map, p.at, full);
}

template <int rank>
METTLE_GLOBAL(64)
void read_tile(METTLE_GRID_CONSTANT const dev::TensorMap map, TensorPlace place, int bytes,
               std::uint32_t* out) {
  METTLE_SHARED(dev::MBarrier, full, 1);
  dev::SharedCarver carver;
  auto* tile = carver.take<std::uint32_t, 1024>(bytes / 4);
  if (dev::thread_rank() == 0) {
    dev::prefetch_tensor_map(&map);
    dev::mbarrier_init(full, 1);
    dev::fence_async_proxy();
    dev::mbarrier_arrive_expect(full, static_cast<std::uint32_t>(bytes));
    copy_box<rank>(tile, &map, place, full);
  }
  dev::sync_block();
  dev::mbarrier_wait(full, 0);
  for (int i = dev::thread_rank(); i < bytes / 4; i += 64) out[i] = tile[i];
}

template <int rank, bool add>
METTLE_GLOBAL(64)
void write_tile(METTLE_GRID_CONSTANT const dev::TensorMap map, TensorPlace place, int bytes,
                const std::uint32_t* in) {
  dev::SharedCarver carver;
  auto* tile = carver.take<std::uint32_t, 1024>(bytes / 4);
  for (int i = dev::thread_rank(); i < bytes / 4; i += 64) tile[i] = in[i];
  dev::fence_async_proxy();
  dev::sync_block();
  if (dev::thread_rank() != 0) return;
  const auto& p = place.at;
  if constexpr (rank == 2 && add)
    dev::add_tensor(&map, {p[0], p[1]}, tile);
  else if constexpr (rank == 2)
    dev::store_tensor(&map, {p[0], p[1]}, tile);
  else if constexpr (rank == 3 && add)
    dev::add_tensor(&map, {p[0], p[1], p[2]}, tile);
  else if constexpr (rank == 3)
    dev::store_tensor(&map, {p[0], p[1], p[2]}, tile);
  else if constexpr (add)
    dev::add_tensor(&map, p, tile);
  else
    dev::store_tensor(&map, p, tile);
  dev::commit_stores();
  dev::wait_store_reads<0>();
}

// Loads the box at row 0 to shared memory, from there to y; then stores the tile at row 8.
template <TmaFault fault>
METTLE_GLOBAL(64)
void make_tma_mistake(METTLE_GRID_CONSTANT const dev::TensorMap map, float* x, float* y) {
  using enum TmaFault;
  constexpr int elements = 8 * 32;
  constexpr std::uint32_t bytes = elements * sizeof(float);
  METTLE_SHARED(dev::MBarrier, full, 1);
  dev::SharedCarver carver;
  float* tile = carver.take<float, 1024>(elements + 32);
  const int thread = dev::thread_rank();
  const bool first = thread == 0;
  if (fault == tile_not_fenced) tile[thread] = 1.0f;  // zero
  if (first) dev::mbarrier_init(full, 1);             // init
  if (first && fault != barrier_not_fenced) dev::fence_async_proxy();
  dev::sync_block();
  if (first) {
    const dev::TensorMap none = {};
    const dev::TensorMap* from = fault == no_map ? &none : &map;
    float* to = fault == misaligned_tile ? tile + 4 : tile;
    dev::mbarrier_arrive_expect(full, bytes + (fault == wrong_bytes ? 16 : 0));
    if (fault == wrong_rank)
      dev::copy_tensor(to, from, {0, 0, 0}, full);  // wrong_rank
    else
      dev::copy_tensor(to, from, {0, 0}, full);  // copy
  }
  if (fault != not_waited) dev::mbarrier_wait(full, 0);        // full wait
  for (int i = thread; i < elements; i += 64) y[i] = tile[i];  // read
  dev::sync_block();
  for (int i = thread; i < elements; i += 64) tile[i] = static_cast<float>(i);  // write
  if (fault != store_not_fenced) dev::fence_async_proxy();
  if (fault != store_without_barrier) dev::sync_block();
  if (!first) return;
  if (fault == added_halves)
    dev::add_tensor(&map, {0, 8}, tile);  // added_halves
  else
    dev::store_tensor(&map, {0, 8}, tile);  // store
  if (fault != not_committed) dev::commit_stores();
  if (fault == overwritten_tile) tile[3] = 0.0f;  // overwritten_tile
  if (fault == never_waited) return;
  if (fault == read_before_store) dev::wait_stores<0>();
  dev::wait_store_reads<0>();
  if (fault == read_too_early || fault == read_before_store) y[0] = x[8 * 32 + 1];  // early
}

METTLE_GLOBAL(64) void give_swizzled(int* none, int* of_32, int* of_64, int* of_128, int count) {
  for (int i = dev::thread_rank(); i < count; i += 64) {
    none[i] = dev::swizzled<dev::Swizzle::none>(i);
    of_32[i] = dev::swizzled<dev::Swizzle::bytes_32>(i);
    of_64[i] = dev::swizzled<dev::Swizzle::bytes_64>(i);
    of_128[i] = dev::swizzled<dev::Swizzle::bytes_128>(i);
  }
}

}  // namespace mettle::emulation_test
