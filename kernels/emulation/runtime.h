// What the device vocabulary calls: each function acts for the emulated thread that runs. Kernels
// call kernels/cuda/device.cuh, never this.
//
// `where` is the line of the kernel. A mistake found here ends the launch: the function does not
// return, and the launch throws EmulationError. Outside of a kernel all of them throw DeviceError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <source_location>

#include "engine/device.h"
#include "kernels/cuda/device_tensor_map.h"
#include "kernels/cuda/device_types.cuh"

namespace mettle::emulation {

using Where = std::source_location;

// ---- who am I -----------------------------------------------------------------------------------
dev::Dim3 thread_index();
dev::Dim3 block_index();
dev::Dim3 block_size();
dev::Dim3 grid_size();
/// Number of the thread in its block, x fastest.
int thread_rank();

// ---- barriers -----------------------------------------------------------------------------------
/// What the threads of a block said at a barrier.
struct Votes {
  bool all = true;
  bool any = false;
  int count = 0;
};
Votes sync_block(bool vote, Where where);
void sync_named(int id, int threads, Where where);
void arrive_named(int id, int threads, Where where);

// ---- warps --------------------------------------------------------------------------------------
void sync_warp(std::uint32_t mask, Where where);
enum class Shuffle { index, up, down, exclusive_or };
/// The bits of the value that another lane passed; all ones where there is no such lane.
std::uint64_t shuffle(Shuffle kind, std::uint32_t mask, std::uint64_t bits, int argument, int width,
                      Where where);
std::uint32_t ballot(std::uint32_t mask, bool vote, Where where);

// ---- memory -------------------------------------------------------------------------------------
/// The static array of this key.
void* static_array(const void* key, std::size_t bytes, std::size_t alignment, Where where);
/// A part of the dynamic shared memory.
void* dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment, Where where);
/// A plain load or store, told by compiler instrumentation.
void plain_access(const void* address, std::size_t bytes, bool write, const void* return_address);
/// What an atomic operation does, in the terms of C++.
struct AtomicKind {
  bool reads;
  bool writes;
  bool acquires = false;
  bool releases = false;
};
/// An atomic operation on `bytes` (at most 8) in two halves, between which no other thread runs:
/// the checks and the old value, then the new value.
std::uint64_t atomic_load(const void* address, std::size_t bytes, AtomicKind kind, Where where);
void atomic_finish(void* address, std::size_t bytes, std::uint64_t value);
/// The checks of an atomic operation that the caller does itself, told by compiler instrumentation.
void atomic_access(const void* address, std::size_t bytes, AtomicKind kind,
                   const void* return_address);
/// Orders both ways, like std::atomic_thread_fence(acq_rel). Nothing outside of kernels.
void fence();

// ---- asynchronous copies ------------------------------------------------------------------------
/// `bytes` to shared memory: the first `source_bytes` from device memory, zeros for the rest.
void copy_async(void* to, const void* from, int bytes, int source_bytes, Where where);
void commit_copies();
void wait_copies(int groups_left);

void mbarrier_init(dev::MBarrier* barrier, int arrivals, Where where);
void mbarrier_arrive(dev::MBarrier* barrier, std::uint32_t expected_bytes, Where where);
void mbarrier_wait(dev::MBarrier* barrier, int parity, Where where);
void copy_bulk(void* to, const void* from, std::uint32_t bytes, dev::MBarrier* barrier,
               Where where);
void fence_async_proxy();

// ---- copies of tensors --------------------------------------------------------------------------
/// Throws ValueError for a layout that the hardware does not take.
dev::TensorMap encode_tensor_map(const dev::TensorLayout& layout);
/// `at` has `rank` coordinates.
void copy_tensor(void* to, const dev::TensorMap* map, const int* at, int rank,
                 dev::MBarrier* barrier, Where where);
void store_tensor(const dev::TensorMap* map, const int* at, int rank, const void* from, bool add,
                  Where where);
void commit_stores();
void wait_store_reads(int groups_left);
void wait_stores(int groups_left);

// ---- matrix instructions ------------------------------------------------------------------------
void load_matrices(std::uint32_t* registers, int count, bool transposed, const void* row,
                   Where where);
enum class MatrixType { bf16, f16, tf32 };
/// d += a b, fragments as in the PTX ISA.
void multiply_add(MatrixType type, float* d, const std::uint32_t* a, const std::uint32_t* b,
                  Where where);

// ---- multiplies of warpgroups -------------------------------------------------------------------
/// An operand in shared memory: kernels/cuda/device_wgmma.cuh tells what the offsets mean.
struct SharedMatrix {
  const std::byte* start;
  int leading_bytes;
  int stride_bytes;
  dev::Swizzle swizzle;

  friend bool operator==(const SharedMatrix&, const SharedMatrix&) = default;
};
/// Variables of a thread that stand for registers.
struct Registers {
  void* at;
  std::size_t bytes;
};
/// What one wgmma does. A is in `a_registers` unless that is null.
struct Multiply {
  MatrixType type;
  int n;
  dev::Major major_a;
  dev::Major major_b;
  bool add;
  SharedMatrix a;
  SharedMatrix b;
  const std::uint32_t* a_registers;
  float* d;
};
void fence_multiplies(std::initializer_list<Registers> registers, Where where);
void multiply_async(const Multiply& multiply, Where where);
void commit_multiplies(Where where);
void wait_multiplies(int groups_left, std::initializer_list<Registers> registers, Where where);

// ---- launch -------------------------------------------------------------------------------------
/// A kernel with its arguments: `kernel(arguments.get())` runs once per thread. `instrumented`:
/// plain_access() is told of every load and store.
struct KernelCall {
  dev::LaunchShape shape;
  bool instrumented;
  void (*kernel)(const void* arguments);
  std::shared_ptr<const void> arguments;
};

/// What the handle of an emulated device's stream points to.
class LaunchQueue {
 public:
  virtual ~LaunchQueue() = default;
  /// Now or later, in the order of the calls.
  virtual void launch(const KernelCall& call) = 0;
};

/// Throws DeviceError when the stream is not an emulated one's, or the shape is one that no GPU
/// takes, and what LaunchQueue::launch() throws.
void launch(const Stream& stream, const KernelCall& call);

}  // namespace mettle::emulation
