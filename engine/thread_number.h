// Numbers threads in the order in which they first ask: for state that is divided among threads so
// that those with separate work share nothing.
#pragma once

#include <atomic>
#include <cstddef>

namespace mettle {

/// 0 for the first thread that asked, 1 for the second, ... Never given twice.
inline std::size_t thread_number() {
  static std::atomic<std::size_t> threads{0};
  thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace mettle
