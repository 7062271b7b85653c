// The one thread pool: OpenMP's, which oneDNN shares. Work is cut into chunks whose borders depend
// on the problem only, never on the number of threads, so that results have the same bits on any
// machine size.
#pragma once

#include <cstdint>
#include <type_traits>

namespace mettle {

/// Threads that parallel_for and oneDNN may use from this calling thread. Default: OMP_NUM_THREADS
/// or all cores.
void set_threads(int count);
int threads();

/// True inside a parallel_for body, where a nested call runs on the spot and threads() is 1.
bool in_parallel_region();

namespace detail {
void use_threads(int count) noexcept;  // a count that threads() gave
}

/// Until the end of the scope the calling thread works alone: threads() is 1.
class OneThread {
 public:
  OneThread() : before_(threads()) {
    if (before_ != 1) detail::use_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) detail::use_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

namespace detail {
using ChunkBody = void (*)(void* body, std::int64_t begin, std::int64_t end);
void parallel_chunks(std::int64_t n, std::int64_t chunk, void* body, ChunkBody call);
}  // namespace detail

/// Calls body(begin, end) over [0, n) in chunks of `chunk` items (the last may be shorter), on the
/// pool when there is more than one chunk. The first exception thrown by a body is rethrown in the
/// caller.
template <class Body> void parallel_for(std::int64_t n, std::int64_t chunk, Body&& body) {
  if (n <= 0) return;
  if (n <= chunk) {
    body(std::int64_t{0}, n);
    return;
  }
  using B = std::remove_reference_t<Body>;
  detail::parallel_chunks(
      n, chunk, const_cast<void*>(static_cast<const void*>(&body)),
      [](void* b, std::int64_t begin, std::int64_t end) { (*static_cast<B*>(b))(begin, end); });
}

}  // namespace mettle
