// Asynchronous copies and mbarriers on the CPU. Twin of kernels/cuda/device_async.cuh, which
// describes each word; included through kernels/cuda/device.cuh.
#pragma once

#include <cstdint>

#include "kernels/cuda/device_types.cuh"
#include "kernels/emulation/device_core.h"
#include "kernels/emulation/runtime.h"

namespace mettle::dev {

template <int Bytes>
void copy_async(void* to, const void* from, int source_bytes = Bytes,
                Where where = Where::current()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  emulation::copy_async(to, from, Bytes, source_bytes, where);
}
inline void commit_copies() { emulation::commit_copies(); }
template <int GroupsLeft> void wait_copies() { emulation::wait_copies(GroupsLeft); }

inline void mbarrier_init(MBarrier* barrier, int arrivals, Where where = Where::current()) {
  emulation::mbarrier_init(barrier, arrivals, where);
}
inline void mbarrier_arrive(MBarrier* barrier, Where where = Where::current()) {
  emulation::mbarrier_arrive(barrier, 0, where);
}
inline void mbarrier_arrive_expect(MBarrier* barrier, std::uint32_t bytes,
                                   Where where = Where::current()) {
  emulation::mbarrier_arrive(barrier, bytes, where);
}
inline void mbarrier_wait(MBarrier* barrier, int parity, Where where = Where::current()) {
  emulation::mbarrier_wait(barrier, parity, where);
}
inline void copy_bulk(void* to, const void* from, std::uint32_t bytes, MBarrier* barrier,
                      Where where = Where::current()) {
  emulation::copy_bulk(to, from, bytes, barrier, where);
}
inline void fence_async_proxy() { emulation::fence_async_proxy(); }

}  // namespace mettle::dev
