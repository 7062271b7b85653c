// The vocabulary's calls, handed to the block of the thread that runs.
#include "kernels/emulation/runtime.h"

#include <cstring>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

dev::Dim3 thread_index() { return self().index; }
dev::Dim3 block_index() { return self().block->index(); }
dev::Dim3 block_size() { return self().block->launch().shape.block; }
dev::Dim3 grid_size() { return self().block->launch().shape.grid; }
int thread_rank() { return self().rank; }

Votes sync_block(bool vote, Where where) {
  Thread& thread = self();
  return thread.block->sync_block(thread, vote, thread.block->places().of(where));
}

void sync_named(int id, int threads, Where where) {
  Thread& thread = self();
  thread.block->sync_named(thread, id, threads, thread.block->places().of(where));
}

void arrive_named(int id, int threads, Where where) {
  Thread& thread = self();
  thread.block->arrive_named(thread, id, threads, thread.block->places().of(where));
}

void* static_array(const void* key, std::size_t bytes, std::size_t alignment, Where where) {
  Block& block = *self().block;
  return block.static_array(key, bytes, alignment, block.places().of(where));
}

void* dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment, Where where) {
  Block& block = *self().block;
  return block.dynamic_array(offset, bytes, alignment, block.places().of(where));
}

void plain_access(const void* address, std::size_t bytes, bool write, const void* return_address) {
  if (Thread* thread = current_thread())
    thread->block->plain_access(*thread, address, bytes, write, return_address);
}

std::uint64_t atomic_load(const void* address, std::size_t bytes, AtomicKind kind, Where where) {
  Thread& thread = self();
  thread.block->atomic_access(thread, address, bytes, kind, thread.block->places().of(where));
  std::uint64_t value = 0;
  if (kind.reads) std::memcpy(&value, address, bytes);
  return value;
}

void atomic_finish(void* address, std::size_t bytes, std::uint64_t value) {
  std::memcpy(address, &value, bytes);
}

void atomic_access(const void* address, std::size_t bytes, AtomicKind kind,
                   const void* return_address) {
  if (Thread* thread = current_thread())
    thread->block->atomic_access(*thread, address, bytes, kind,
                                 thread->block->places().of(return_address));
}

void fence() {
  if (Thread* thread = current_thread()) thread->block->fence(*thread);
}

void copy_async(void* to, const void* from, int bytes, int source_bytes, Where where) {
  Thread& thread = self();
  thread.block->copy_async(thread,
                           {to, from, bytes, source_bytes, thread.block->places().of(where)});
}

void commit_copies() {
  Thread& thread = self();
  std::size_t committed = 0;
  for (const std::size_t group : thread.copy_groups) committed += group;
  thread.copy_groups.push_back(thread.copies.size() - committed);
}

void wait_copies(int groups_left) {
  Thread& thread = self();
  thread.block->wait_copies(thread, groups_left);
}

void mbarrier_init(dev::MBarrier* barrier, int arrivals, Where where) {
  Thread& thread = self();
  thread.block->mbarrier_init(thread, barrier, arrivals, thread.block->places().of(where));
}

void mbarrier_arrive(dev::MBarrier* barrier, std::uint32_t expected_bytes, Where where) {
  Thread& thread = self();
  thread.block->mbarrier_arrive(thread, barrier, expected_bytes, thread.block->places().of(where));
}

void mbarrier_wait(dev::MBarrier* barrier, int parity, Where where) {
  Thread& thread = self();
  thread.block->mbarrier_wait(thread, barrier, parity, thread.block->places().of(where));
}

void copy_bulk(void* to, const void* from, std::uint32_t bytes, dev::MBarrier* barrier,
               Where where) {
  Thread& thread = self();
  const auto count = static_cast<int>(bytes);
  thread.block->copy_bulk(thread, {to, from, count, count, thread.block->places().of(where)},
                          barrier);
}

}  // namespace mettle::emulation
