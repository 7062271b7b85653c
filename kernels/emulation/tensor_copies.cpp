// Copies of boxes from tensors: bulk copies whose rows come from all over the tensor, with zeros
// for what is outside of it.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::check_tile(const Thread& thread, const void* tile, const TensorBox& box, Place place) {
  const int alignment = dev::swizzle_alignment(box.map.swizzle);
  if (!machine_.arena.contains(tile))
    stop(Finding::out_of_bounds, {place},
         "{} copies a box of a tensor to or from what is no shared memory at {{0}}",
         name_of(thread));
  if (reinterpret_cast<std::uintptr_t>(tile) % static_cast<std::uintptr_t>(alignment) != 0)
    stop(Finding::misaligned, {place},
         "{} copies a box of a tensor at {{0}} whose tile in shared memory is no multiple of {} "
         "bytes",
         name_of(thread), alignment);
}

void Block::copy_tensor(Thread& thread, void* to, const TensorBox& box, const void* barrier,
                        Place place) {
  check_tile(thread, to, box, place);
  check_barrier_fenced(thread, mbarrier(thread, barrier, place), place);
  access(thread, barrier, sizeof(dev::MBarrier), Access::atomic_change, place);
  for (int i = 0; i < box.map.rows(); ++i)
    if (const TensorBox::Row row = box.row(i); row.bytes > 0)
      access(thread, row.inside, static_cast<std::size_t>(row.bytes), Access::read, place);
  const PendingCopy copy{to, nullptr, box.map.bytes(), 0, place};
  check_fenced(thread, thread.clock, to, static_cast<std::size_t>(copy.bytes), place);
  send(thread, copy);
  bulk_copies_.push_back({copy, barrier, std::make_shared<const TensorBox>(box)});
}

void Block::land_box(const BulkCopy& arriving, const Stamp& stamp) {
  const TensorBox& box = *arriving.box;
  land(arriving.copy, stamp);
  std::vector<std::byte> packed(static_cast<std::size_t>(box.map.row_bytes()));
  for (int i = 0; i < box.map.rows(); ++i) {
    const TensorBox::Row row = box.row(i);
    if (row.bytes == 0) continue;
    std::ranges::fill(packed, std::byte{0});
    std::memcpy(packed.data() + row.skipped, row.inside, static_cast<std::size_t>(row.bytes));
    swizzle_row(box, i, packed.data(), static_cast<std::byte*>(arriving.copy.to));
  }
}

TensorBox Block::box_of(const Thread& thread, const dev::TensorMap* map, const int* at, int rank,
                        Place place) {
  TensorBox box;
  if (!read_tensor_map(map, at, rank, &box))
    stop(Finding::bad_operand, {place},
         "{} copies a box at {{0}} with {} coordinates, by what is no tensor map of that rank",
         name_of(thread), rank);
  return box;
}

// ---- what the vocabulary calls ------------------------------------------------------------------
void copy_tensor(void* to, const dev::TensorMap* map, const int* at, int rank,
                 dev::MBarrier* barrier, Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  const Place place = block.places().of(where);
  block.copy_tensor(thread, to, block.box_of(thread, map, at, rank, place), barrier, place);
}

void store_tensor(const dev::TensorMap* map, const int* at, int rank, const void* from, bool add,
                  Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  const Place place = block.places().of(where);
  block.store_tensor(thread, block.box_of(thread, map, at, rank, place),
                     static_cast<const std::byte*>(from), add, place);
}

void commit_stores() {
  Thread& thread = self();
  thread.block->commit_stores(thread);
}

void wait_store_reads(int groups_left) {
  Thread& thread = self();
  thread.block->wait_store_reads(thread, groups_left);
}

void wait_stores(int groups_left) {
  Thread& thread = self();
  thread.block->wait_stores(thread, groups_left);
}

}  // namespace mettle::emulation
