// The thread pool behind parallel_for. OpenMP runs the team, except in a ThreadSanitizer build
// (METTLE_STD_THREADS), where std::thread does: the sanitizer sees its starts and joins, but not
// the locks inside of libgomp.
#include "engine/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "engine/check.h"

#ifdef METTLE_STD_THREADS
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace mettle {
namespace {

constexpr int max_threads = 4096;

#ifdef METTLE_STD_THREADS

thread_local bool inside = false;
// As with OpenMP, each calling thread has its own count.
thread_local int thread_count =
    std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, max_threads);

template <class Work> void run_team(int team, const Work& work) {
  const auto member = [&work] {
    const OneThread alone;
    inside = true;
    work();
    inside = false;
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<std::size_t>(team) - 1);
  for (int i = 1; i < team; ++i) others.emplace_back(member);
  member();
  for (std::thread& other : others) other.join();
}

#else

// Runs work() on `team` threads, the caller among them, and waits for all. Each member's own count
// of threads becomes 1, which oneDNN reads when it plans a product.
template <class Work> void run_team(int team, const Work& work) {
#pragma omp parallel num_threads(team)
  {
    const OneThread alone;
    work();
  }
}

#endif

}  // namespace

void set_threads(int count) {
  METTLE_CHECK(ValueError, count >= 1 && count <= max_threads, "threads: {} is outside 1..{}",
               count, max_threads);
  detail::use_threads(count);
}

#ifdef METTLE_STD_THREADS
int threads() { return thread_count; }
bool in_parallel_region() { return inside; }
#else
int threads() { return omp_get_max_threads(); }
bool in_parallel_region() { return omp_in_parallel() != 0; }
#endif

namespace detail {

void use_threads(int count) noexcept {
#ifdef METTLE_STD_THREADS
  thread_count = count;
#else
  omp_set_num_threads(count);
#endif
}

void parallel_chunks(std::int64_t n, std::int64_t chunk, void* body, ChunkBody call) {
  const std::int64_t chunks = (n + chunk - 1) / chunk;
  const auto run_chunk = [&](std::int64_t c) {
    call(body, c * chunk, std::min(n, (c + 1) * chunk));
  };
  const int team = static_cast<int>(std::min<std::int64_t>(threads(), chunks));
  if (team <= 1 || in_parallel_region()) {
    for (std::int64_t c = 0; c < chunks; ++c) run_chunk(c);
    return;
  }
  std::exception_ptr error;
  std::atomic<bool> failed{false};
  // Relaxed: the end of the team publishes what bodies wrote. An ordering here would also make two
  // bodies that race look ordered to the thread sanitizer.
  std::atomic<std::int64_t> next{0};
  const auto take = [&next] { return next.fetch_add(1, std::memory_order_relaxed); };
  run_team(team, [&] {
    for (auto c = take(); c < chunks && !failed.load(std::memory_order_relaxed); c = take()) {
      try {
        run_chunk(c);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace detail
}  // namespace mettle
