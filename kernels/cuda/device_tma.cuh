// Copies of boxes of tensors under nvcc: cp.async.bulk.tensor, compute capability 9.0a only;
// kernels that use them compile for others but trap there. Twin of kernels/emulation/device_tma.h;
// meant to be included through device.cuh.
//
// One thread issues each of them. `at` is the corner of the box in the tensor, contiguous dimension
// first; what lies outside of the tensor is read as zero and not written. The box in shared memory
// is packed, its rows swizzled as the map says; it is aligned to swizzle_alignment().
#pragma once

#include <cstdint>

#include "kernels/cuda/device_async.cuh"
#include "kernels/cuda/device_core.cuh"
#include "kernels/cuda/device_tensor_map.h"
#include "kernels/cuda/device_tensor_map_cuda.h"

// Before the parameter of a kernel that is a TensorMap or contains one, which has to be const: the
// hardware reads the map where the launch put it.
#define METTLE_GRID_CONSTANT __grid_constant__

namespace mettle::dev {

/// Throws ValueError for a layout that the hardware does not take, DeviceError without a driver.
inline TensorMap make_tensor_map(const TensorLayout& layout) {
  return detail::encode_tensor_map(layout);
}

/// Fetches the map, which the first copy would wait for.
METTLE_DEVICE void prefetch_tensor_map(const TensorMap* map) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#else
  __trap();
#endif
}

/// Copies a box from the tensor. box_bytes() count towards the mbarrier's phase when it is in.
template <int Rank>
METTLE_DEVICE void copy_tensor(void* to, const TensorMap* map, const int (&at)[Rank],
                               MBarrier* barrier) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const std::uint32_t shared = detail::shared_address(to);
  const std::uint32_t full = detail::shared_address(barrier);
  if constexpr (Rank == 2)
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared),
        "l"(map), "r"(full), "r"(at[0]), "r"(at[1])
        : "memory");
  else if constexpr (Rank == 3)
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared),
        "l"(map), "r"(full), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared),
        "l"(map), "r"(full), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
#else
  __trap();
#endif
}

/// Copies a box to the tensor. What plain stores wrote to it needs fence_async_proxy() and a
/// barrier before.
template <int Rank>
METTLE_DEVICE void store_tensor(const TensorMap* map, const int (&at)[Rank], const void* from) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const std::uint32_t shared = detail::shared_address(from);
  if constexpr (Rank == 2)
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
            map),
        "r"(shared), "r"(at[0]), "r"(at[1])
        : "memory");
  else if constexpr (Rank == 3)
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], "
        "[%1];" ::"l"(map),
        "r"(shared), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  else
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], "
        "[%1];" ::"l"(map),
        "r"(shared), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
#else
  __trap();
#endif
}

/// Adds a box to the tensor, f32, element by element as relaxed atomics do.
template <int Rank>
METTLE_DEVICE void add_tensor(const TensorMap* map, const int (&at)[Rank], const void* from) {
  static_assert(Rank >= 2 && Rank <= max_tensor_rank);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const std::uint32_t shared = detail::shared_address(from);
  if constexpr (Rank == 2)
    asm volatile(
        "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3}], "
        "[%1];" ::"l"(map),
        "r"(shared), "r"(at[0]), "r"(at[1])
        : "memory");
  else if constexpr (Rank == 3)
    asm volatile(
        "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4}], "
        "[%1];" ::"l"(map),
        "r"(shared), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  else
    asm volatile(
        "cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4, "
        "%5}], [%1];" ::"l"(map),
        "r"(shared), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
#else
  __trap();
#endif
}

/// Ends a group of stores and additions of this thread.
METTLE_DEVICE void commit_stores() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
  __trap();
#endif
}
/// Until all but this many of the thread's latest groups have read their shared memory, which may
/// be written again; a thread must do this before it ends.
template <int GroupsLeft> METTLE_DEVICE void wait_store_reads() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(GroupsLeft) : "memory");
#else
  __trap();
#endif
}
/// Until all but this many of them have written to device memory as well, where this thread sees
/// it.
template <int GroupsLeft> METTLE_DEVICE void wait_stores() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(GroupsLeft) : "memory");
#else
  __trap();
#endif
}

}  // namespace mettle::dev
