// A race between two bodies of parallel_for, on purpose: a run of the tests under the thread
// sanitizer proves nothing unless it reports this one.
#include <cstdint>
#include <cstdio>

#include "engine/parallel.h"

int main() {
  mettle::set_threads(2);
  std::int64_t sum = 0;
  mettle::parallel_for(2, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) sum += i;
  });
  std::printf("no race was reported, sum %d\n", static_cast<int>(sum));
  return 0;
}
