// Copies of boxes of tensors on the CPU. Twin of kernels/cuda/device_tma.cuh, which describes each
// word; included through kernels/cuda/device.cuh.
#pragma once

#include "kernels/cuda/device_tensor_map.h"
#include "kernels/emulation/device_core.h"
#include "kernels/emulation/runtime.h"

#define METTLE_GRID_CONSTANT

namespace mettle::dev {

inline TensorMap make_tensor_map(const TensorLayout& layout) {
  return emulation::encode_tensor_map(layout);
}

inline void prefetch_tensor_map(const TensorMap*) {}

template <int Rank>
void copy_tensor(void* to, const TensorMap* map, const int (&at)[Rank], MBarrier* barrier,
                 Where where = Where::current()) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
  emulation::copy_tensor(to, map, at, Rank, barrier, where);
}
template <int Rank>
void store_tensor(const TensorMap* map, const int (&at)[Rank], const void* from,
                  Where where = Where::current()) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
  emulation::store_tensor(map, at, Rank, from, false, where);
}
template <int Rank>
void add_tensor(const TensorMap* map, const int (&at)[Rank], const void* from,
                Where where = Where::current()) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
  emulation::store_tensor(map, at, Rank, from, true, where);
}
inline void commit_stores() { emulation::commit_stores(); }
template <int GroupsLeft> void wait_store_reads() { emulation::wait_store_reads(GroupsLeft); }
template <int GroupsLeft> void wait_stores() { emulation::wait_stores(GroupsLeft); }

}  // namespace mettle::dev
