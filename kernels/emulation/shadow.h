// The race detector's memory: for each byte of shared and device memory the last write and the
// reads since then, with who and when, compared with the vector clock of whoever touches the byte
// next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/emulation/clock.h"
#include "kernels/emulation/places.h"

namespace mettle::emulation {

/// One access, or none when `block` is 0.
struct Stamp {
  BlockId block = 0;
  Clock clock = 0;
  std::uint16_t actor = 0;
  bool atomic = false;
  Place place = 0;
};

/// What is known of one byte. Reads are a list in the detector's pool, with the lanes of a warp
/// that read at the same clock in one node.
struct Cell {
  Stamp write;
  Stamp earlier_read;       // the latest read by a block before read_block
  BlockId read_block = 0;   // whose reads are in the list
  std::uint32_t reads = 0;  // first node, 0: none
};

/// The cells of one stretch of memory, made when they are first touched.
class Shadow {
 public:
  /// `per_block`: what other blocks did is gone, as with shared memory.
  Shadow(std::size_t bytes, bool per_block);
  Cell& cell(std::size_t offset);
  bool per_block() const { return per_block_; }

 private:
  static constexpr std::size_t chunk_cells = 1024;
  using Chunk = std::array<Cell, chunk_cells>;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  bool per_block_;
};

/// Who touches, and how.
struct Touch {
  BlockId block;
  const ThreadClock* clock;
  bool read;
  bool write;
  bool atomic;
  Place place;
};

/// What was found wrong with a touch.
struct Conflict {
  enum class Kind { race, uninitialised } kind;
  Stamp earlier;       // the access that it races with
  bool earlier_write;  // or a read
  std::size_t byte;    // of those touched
};

class Detector {
 public:
  /// Everything done by blocks before this one is ordered before what follows.
  void begin_launch(BlockId first_block);
  /// Records the touch and tells the first conflict. Bytes of a per-block stretch that the block
  /// reads without having written them are one.
  std::optional<Conflict> touch(Shadow& shadow, std::size_t offset, std::size_t bytes,
                                const Touch& touch);
  /// The last write to one of the bytes, by a thread of this block, that `clock` knows of without
  /// knowing that it was fenced: entry `first_fence` + thread of the clock says up to when it was.
  std::optional<Stamp> unfenced_write(Shadow& shadow, std::size_t offset, std::size_t bytes,
                                      BlockId block, const ThreadClock& clock, int first_fence,
                                      int threads) const;
  /// Records a write that needs no comparison: the arrival of a copy that was compared when it was
  /// issued.
  void write(Shadow& shadow, std::size_t offset, std::size_t bytes, const Stamp& stamp);

 private:
  struct Read {
    std::uint32_t next = 0;
    std::uint32_t lanes = 0;
    Clock clock = 0;
    std::uint16_t warp = 0;
    bool atomic = false;
    Place place = 0;
  };

  bool ordered(const Shadow& shadow, const Stamp& stamp, const Touch& touch) const;
  std::optional<Conflict> compare(const Shadow& shadow, const Cell& cell, const Touch& touch) const;
  std::optional<Conflict> compare_reads(const Cell& cell, const Touch& touch) const;
  void retire_reads(Cell& cell, BlockId block);
  void record_read(Cell& cell, const Touch& touch);
  void free_reads(Cell& cell);
  std::uint32_t new_read(const Read& read);

  BlockId launch_first_ = 1;
  std::vector<Read> reads_{1};
  std::uint32_t free_ = 0;
};

}  // namespace mettle::emulation
