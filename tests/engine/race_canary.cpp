// A race between two bodies of parallel_for, on purpose: a run of the tests under the thread
// sanitizer proves nothing unless it reports this one.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>

#include "engine/parallel.h"

int main() {
  mettle::set_threads(2);
  std::int64_t sum = 0;
  // Both bodies have begun before either goes on, so that one thread cannot run both; relaxed, so
  // that this orders nothing.
  std::atomic<int> begun{0};
  mettle::parallel_for(2, 1, [&](std::int64_t begin, std::int64_t end) {
    begun.fetch_add(1, std::memory_order_relaxed);
    while (begun.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
    sum += end - begin;
  });
  std::printf("no race was reported, sum %d\n", static_cast<int>(sum));
  return 0;
}
