#include "engine/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "engine/check.h"

namespace mettle {

void set_threads(int count) {
  METTLE_CHECK(ValueError, count >= 1 && count <= 4096, "threads: {} is outside 1..4096", count);
  omp_set_num_threads(count);
}

int threads() { return omp_get_max_threads(); }

bool in_parallel_region() { return omp_in_parallel() != 0; }

namespace detail {

void parallel_chunks(std::int64_t n, std::int64_t chunk, void* body, ChunkBody call) {
  const std::int64_t chunks = (n + chunk - 1) / chunk;
  const int team = static_cast<int>(std::min<std::int64_t>(threads(), chunks));
  if (team <= 1 || in_parallel_region()) {
    for (std::int64_t c = 0; c < chunks; ++c) call(body, c * chunk, std::min(n, (c + 1) * chunk));
    return;
  }
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
  for (std::int64_t c = 0; c < chunks; ++c) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      call(body, c * chunk, std::min(n, (c + 1) * chunk));
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace detail
}  // namespace mettle
