// Asynchronous copies to shared memory and mbarriers under nvcc. Twin of
// kernels/emulation/device_async.h; meant to be included through device.cuh.
//
// Bulk copies and bytes expected by an mbarrier exist from compute capability 9.0 on; kernels that
// use them compile for 8.0 but trap there.
#pragma once

#include <cstdint>

#include "kernels/cuda/device_core.cuh"
#include "kernels/cuda/device_types.cuh"

namespace mettle::dev {

namespace detail {

METTLE_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

}  // namespace detail

// ---- cp.async -----------------------------------------------------------------------------------
/// Copies 4, 8 or 16 aligned bytes from device memory, of which those from `source_bytes` on become
/// zero. They arrive when this thread waits for the group that they are committed to.
template <int Bytes>
METTLE_DEVICE void copy_async(void* to, const void* from, int source_bytes = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const std::uint32_t shared = detail::shared_address(to);
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
                 "r"(source_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from),
                 "n"(Bytes), "r"(source_bytes)
                 : "memory");
}
/// Ends a group of copies.
METTLE_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until at most this many of the latest groups are under way. Other threads see the bytes after a
/// barrier behind it.
template <int GroupsLeft> METTLE_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
}

// ---- mbarriers ----------------------------------------------------------------------------------
/// One thread makes the barrier, for so many arrivals per phase. Others may use it after
/// sync_block().
METTLE_DEVICE void mbarrier_init(MBarrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(detail::shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
METTLE_DEVICE void mbarrier_arrive(MBarrier* barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(
                   detail::shared_address(barrier))
               : "memory");
}
/// Arrives, and announces bytes of bulk copies to this phase.
METTLE_DEVICE void mbarrier_arrive_expect(MBarrier* barrier, std::uint32_t bytes) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   detail::shared_address(barrier)),
               "r"(bytes)
               : "memory");
#else
  __trap();
#endif
}
/// Until the phase of this parity is over; the first phase has parity 0.
METTLE_DEVICE void mbarrier_wait(MBarrier* barrier, int parity) {
  const std::uint32_t shared = detail::shared_address(barrier);
  std::uint32_t over;
  do {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "  selp.u32 %0, 1, 0, p; }"
        : "=r"(over)
        : "r"(shared), "r"(parity)
        : "memory");
#else
    asm volatile(
        "{ .reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "  selp.u32 %0, 1, 0, p; }"
        : "=r"(over)
        : "r"(shared), "r"(parity)
        : "memory");
#endif
  } while (over == 0);
}

// ---- bulk copies --------------------------------------------------------------------------------
/// One thread copies from device memory; addresses and `bytes` are multiples of 16. The bytes count
/// towards the mbarrier's phase when they are in.
METTLE_DEVICE void copy_bulk(void* to, const void* from, std::uint32_t bytes, MBarrier* barrier) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(detail::shared_address(to)),
      "l"(from), "r"(bytes), "r"(detail::shared_address(barrier))
      : "memory");
#else
  __trap();
#endif
}
/// Between plain writes to shared memory, mbarrier_init() included, and bulk copies that touch it.
METTLE_DEVICE void fence_async_proxy() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

}  // namespace mettle::dev
