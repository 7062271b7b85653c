// How many objects of a kind are alive, for tests of leaks. Threads count in cells of their own:
// one counter for the process would be the only thing that threads with separate work still share.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "engine/thread_number.h"

namespace mettle {

class LiveCount {
 public:
  void add() { own_cell().fetch_add(1, std::memory_order_relaxed); }
  void remove() { own_cell().fetch_sub(1, std::memory_order_relaxed); }
  /// Exact when no other thread adds or removes meanwhile.
  std::size_t total() const {
    std::size_t sum = 0;  // a cell may be below zero; the sum wraps around to what it is
    for (const Cell& cell : cells_) sum += cell.count.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(128) Cell {
    std::atomic<std::size_t> count{0};
  };

  std::atomic<std::size_t>& own_cell() { return cells_[thread_number() % cells_.size()].count; }

  std::array<Cell, 16> cells_;
};

}  // namespace mettle
