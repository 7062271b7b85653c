// Where the rows of a result are written: through the caches, or past them when the result is far
// larger than they are. Such a store does not fetch the line that it overwrites, a third of the
// traffic of a copy, and leaves the caches to what will be read again.
#if defined(METTLE_KERNELS_CPU_OUTPUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_OUTPUT_INL_H_
#undef METTLE_KERNELS_CPU_OUTPUT_INL_H_
#else
#define METTLE_KERNELS_CPU_OUTPUT_INL_H_
#endif

#include <hwy/cache_control.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

/// A larger result has left the caches by the time that its end is written. What one core can use
/// of the last level, on the processors of today; what the system reports is no help under a
/// hypervisor (ten times the truth on one).
inline constexpr std::size_t cached_bytes = std::size_t{32} << 20;

/// A row of a result; null: not wanted.
template <class T> struct OutputRow {
  T* p;
  bool past_caches;
  explicit operator bool() const { return p != nullptr; }
};

/// A result of rows x columns; base may be null.
template <class T> class Output {
 public:
  Output(void* base, std::int64_t rows, std::int64_t columns)
      : base_(static_cast<T*>(base)), columns_(columns) {
    // Stores past the caches write whole aligned vectors.
    constexpr std::size_t vector = hn::MaxLanes(hn::ScalableTag<T>()) * sizeof(T);
    const std::size_t row = static_cast<std::size_t>(columns) * sizeof(T);
    past_caches_ = row * static_cast<std::size_t>(rows) > cached_bytes && row % vector == 0 &&
                   reinterpret_cast<std::uintptr_t>(base) % vector == 0;
  }

  OutputRow<T> row(std::int64_t i) const {
    return {base_ ? base_ + i * columns_ : nullptr, past_caches_};
  }
  /// To be called by each thread after its last store, before others read.
  void finish() const {
    if (past_caches_) hwy::FlushStream();
  }

 private:
  T* base_;
  std::int64_t columns_;
  bool past_caches_;
};

template <class T> struct StoresThroughCaches {
  T* p;
  template <class D, class S> HWY_INLINE void put(D d, hn::Vec<D> v, std::size_t i, S span) const {
    store(d, v, p + i, span);
  }
};

template <class T> struct StoresPastCaches {
  T* p;
  template <class D, class S> HWY_INLINE void put(D d, hn::Vec<D> v, std::size_t i, S span) const {
    if constexpr (std::is_same_v<T, hn::TFromD<D>> && std::is_same_v<S, Full>) {
      hn::Stream(v, d, p + i);
    } else {
      store(d, v, p + i, span);
    }
  }
};

/// Calls body(stores) once, with the stores that the row asks for: stores.put(d, v, i, span). Loops
/// belong into the body: a choice for each vector would cost as much as the rest of the loop.
template <class T, class Body> HWY_INLINE void with_stores(OutputRow<T> row, const Body& body) {
  if (row.past_caches) {
    body(StoresPastCaches<T>{row.p});
  } else {
    body(StoresThroughCaches<T>{row.p});
  }
}

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
