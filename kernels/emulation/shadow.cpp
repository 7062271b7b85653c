// Comparing an access with those before it.
#include "kernels/emulation/shadow.h"

#include <bit>

#include "kernels/cuda/device_types.cuh"

namespace mettle::emulation {

using dev::warp_size;

Shadow::Shadow(std::size_t bytes, bool per_block)
    : chunks_((bytes + chunk_cells - 1) / chunk_cells), per_block_(per_block) {}

Cell& Shadow::cell(std::size_t offset) {
  std::unique_ptr<Chunk>& chunk = chunks_[offset / chunk_cells];
  if (!chunk) chunk = std::make_unique<Chunk>();
  return (*chunk)[offset % chunk_cells];
}

// Lists of earlier launches are never followed again, so their nodes can be forgotten.
void Detector::begin_launch(BlockId first_block) {
  launch_first_ = first_block;
  reads_.resize(1);
  free_ = 0;
}

std::optional<Conflict> Detector::touch(Shadow& shadow, std::size_t offset, std::size_t bytes,
                                        const Touch& touch) {
  std::optional<Conflict> first;
  for (std::size_t i = 0; i < bytes; ++i) {
    Cell& cell = shadow.cell(offset + i);
    retire_reads(cell, touch.block);
    if (!first) {
      first = compare(shadow, cell, touch);
      if (first) first->byte = i;
    }
    if (touch.write) {
      free_reads(cell);
      cell.earlier_read = {};
      cell.write = {touch.block, touch.clock->now, static_cast<std::uint16_t>(touch.clock->actor),
                    touch.atomic, touch.place};
    } else {
      record_read(cell, touch);
    }
  }
  return first;
}

std::optional<Stamp> Detector::unfenced_write(Shadow& shadow, std::size_t offset, std::size_t bytes,
                                              BlockId block, const ThreadClock& clock,
                                              int first_fence, int threads) const {
  for (std::size_t i = 0; i < bytes; ++i) {
    const Stamp& write = shadow.cell(offset + i).write;
    if (write.block != block || write.actor >= threads) continue;
    const auto entry = static_cast<std::size_t>(first_fence) + write.actor;
    if (clock.sees(write.actor, write.clock) && (*clock.seen)[entry] < write.clock) return write;
  }
  return std::nullopt;
}

void Detector::write(Shadow& shadow, std::size_t offset, std::size_t bytes, const Stamp& stamp) {
  for (std::size_t i = 0; i < bytes; ++i) {
    Cell& cell = shadow.cell(offset + i);
    retire_reads(cell, stamp.block);
    free_reads(cell);
    cell.earlier_read = {};
    cell.write = stamp;
  }
}

bool Detector::ordered(const Shadow& shadow, const Stamp& stamp, const Touch& touch) const {
  if (stamp.block < launch_first_) return true;
  if (stamp.block == touch.block) return touch.clock->sees(stamp.actor, stamp.clock);
  return shadow.per_block() || touch.clock->sees(stamp.block, stamp.actor, stamp.clock);
}

std::optional<Conflict> Detector::compare(const Shadow& shadow, const Cell& cell,
                                          const Touch& touch) const {
  if (!(touch.atomic && cell.write.atomic) && !ordered(shadow, cell.write, touch))
    return Conflict{Conflict::Kind::race, cell.write, true, 0};
  if (touch.write && !(touch.atomic && cell.earlier_read.atomic) &&
      !ordered(shadow, cell.earlier_read, touch))
    return Conflict{Conflict::Kind::race, cell.earlier_read, false, 0};
  if (touch.read && shadow.per_block() && cell.write.block != touch.block)
    return Conflict{Conflict::Kind::uninitialised, {}, true, 0};
  return touch.write ? compare_reads(cell, touch) : std::nullopt;
}

std::optional<Conflict> Detector::compare_reads(const Cell& cell, const Touch& touch) const {
  for (std::uint32_t at = cell.reads; at != 0; at = reads_[at].next) {
    const Read& read = reads_[at];
    if (touch.atomic && read.atomic) continue;
    for (std::uint32_t lanes = read.lanes; lanes != 0; lanes &= lanes - 1) {
      const int actor = read.warp * warp_size + std::countr_zero(lanes);
      if (!touch.clock->sees(actor, read.clock))
        return Conflict{
            Conflict::Kind::race,
            {touch.block, read.clock, static_cast<std::uint16_t>(actor), read.atomic, read.place},
            false,
            0};
    }
  }
  return std::nullopt;
}

// When the list is another block's: keeps one of its reads, and frees it unless it is of an earlier
// launch, whose nodes are gone.
void Detector::retire_reads(Cell& cell, BlockId block) {
  if (cell.read_block == block) return;
  if (cell.reads != 0 && cell.read_block >= launch_first_) {
    const Read& read = reads_[cell.reads];
    const int actor = read.warp * warp_size + std::countr_zero(read.lanes);
    cell.earlier_read = {cell.read_block, read.clock, static_cast<std::uint16_t>(actor),
                         read.atomic, read.place};
    free_reads(cell);
  }
  cell.reads = 0;
  cell.read_block = block;
}

// A thread's later read stands for its earlier ones: what is ordered after it is ordered after
// them.
void Detector::record_read(Cell& cell, const Touch& touch) {
  const auto warp = static_cast<std::uint16_t>(touch.clock->actor / warp_size);
  const std::uint32_t lane = 1u << (touch.clock->actor % warp_size);
  bool recorded = false;
  for (std::uint32_t* link = &cell.reads; *link != 0;) {
    Read& read = reads_[*link];
    if (read.warp == warp && read.clock == touch.clock->now && read.atomic == touch.atomic) {
      if ((read.lanes & lane) != 0) return;
      read.lanes |= lane;
      recorded = true;
    } else if (read.warp == warp) {
      read.lanes &= ~lane;
      if (read.lanes == 0) {
        const std::uint32_t unused = *link;
        *link = read.next;
        read.next = free_;
        free_ = unused;
        continue;
      }
    }
    link = &read.next;
  }
  if (!recorded)
    cell.reads = new_read({cell.reads, lane, touch.clock->now, warp, touch.atomic, touch.place});
}

void Detector::free_reads(Cell& cell) {
  while (cell.reads != 0) {
    const std::uint32_t next = reads_[cell.reads].next;
    reads_[cell.reads].next = free_;
    free_ = cell.reads;
    cell.reads = next;
  }
}

std::uint32_t Detector::new_read(const Read& read) {
  if (free_ != 0) {
    const std::uint32_t at = free_;
    free_ = reads_[at].next;
    reads_[at] = read;
    return at;
  }
  reads_.push_back(read);
  return static_cast<std::uint32_t>(reads_.size() - 1);
}

}  // namespace mettle::emulation
