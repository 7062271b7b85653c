// The device vocabulary on the CPU: threads, barriers, warps, shared memory, atomics, mathematics.
// Twin of kernels/cuda/device_core.cuh, which describes each word; included through
// kernels/cuda/device.cuh.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <source_location>
#include <type_traits>

#include "engine/half.h"
#include "kernels/cuda/device_types.cuh"
#include "kernels/emulation/runtime.h"

#define METTLE_GLOBAL(...) inline
// Always inlined, as nvcc does, and because g++ does not report the store of what a call returns by
// value: *p = f() would go unseen.
#define METTLE_DEVICE __attribute__((always_inline)) inline
#define METTLE_UNROLL
// A type cannot stand in parentheses. NOLINTBEGIN(bugprone-macro-parentheses)
#define METTLE_SHARED(T, name, count)                                \
  static const char name##_key = 0;                                  \
  T* const name = static_cast<T*>(::mettle::emulation::static_array( \
      &name##_key, sizeof(T) * (count), alignof(T), ::mettle::dev::Where::current()))
// NOLINTEND(bugprone-macro-parentheses)

#if defined(METTLE_EMULATION_RACE) && defined(__GNUC__) && !defined(__clang__)
// clang reports calls of these by itself; g++ leaves that to the sanitizer's interceptors, which
// are not linked.
extern "C" {
void* memcpy(void*, const void*, std::size_t) noexcept __asm__("__tsan_memcpy");
void* memmove(void*, const void*, std::size_t) noexcept __asm__("__tsan_memmove");
void* memset(void*, int, std::size_t) noexcept __asm__("__tsan_memset");
}
#endif

namespace mettle::dev {

/// The line of the kernel that a word is called from.
using Where = std::source_location;

// ---- who am I -----------------------------------------------------------------------------------
inline Dim3 thread_index() { return emulation::thread_index(); }
inline Dim3 block_index() { return emulation::block_index(); }
inline Dim3 block_size() { return emulation::block_size(); }
inline Dim3 grid_size() { return emulation::grid_size(); }
inline int thread_rank() { return emulation::thread_rank(); }
inline int lane_index() { return emulation::thread_rank() % warp_size; }
inline int warp_index() { return emulation::thread_rank() / warp_size; }

// ---- barriers and fences ------------------------------------------------------------------------
inline void sync_block(Where where = Where::current()) { emulation::sync_block(false, where); }
inline bool sync_block_or(bool vote, Where where = Where::current()) {
  return emulation::sync_block(vote, where).any;
}
inline bool sync_block_and(bool vote, Where where = Where::current()) {
  return emulation::sync_block(vote, where).all;
}
inline int sync_block_count(bool vote, Where where = Where::current()) {
  return emulation::sync_block(vote, where).count;
}
inline void sync_named(int id, int threads, Where where = Where::current()) {
  emulation::sync_named(id, threads, where);
}
inline void arrive_named(int id, int threads, Where where = Where::current()) {
  emulation::arrive_named(id, threads, where);
}
inline void sync_warp(std::uint32_t mask = full_warp, Where where = Where::current()) {
  emulation::sync_warp(mask, where);
}
inline void fence_block() { emulation::fence(); }
inline void fence_device() { emulation::fence(); }

// ---- shuffles and votes -------------------------------------------------------------------------
namespace detail {

template <class T>
METTLE_DEVICE T shuffle(emulation::Shuffle kind, std::uint32_t mask, T value, int argument,
                        int width, Where where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = emulation::shuffle(kind, mask, bits, argument, width, where);
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  return value;
}

}  // namespace detail

template <class T>
METTLE_DEVICE T shuffle(std::uint32_t mask, T value, int lane, int width = warp_size,
                        Where where = Where::current()) {
  return detail::shuffle(emulation::Shuffle::index, mask, value, lane, width, where);
}
template <class T>
METTLE_DEVICE T shuffle_up(std::uint32_t mask, T value, int distance, int width = warp_size,
                           Where where = Where::current()) {
  return detail::shuffle(emulation::Shuffle::up, mask, value, distance, width, where);
}
template <class T>
METTLE_DEVICE T shuffle_down(std::uint32_t mask, T value, int distance, int width = warp_size,
                             Where where = Where::current()) {
  return detail::shuffle(emulation::Shuffle::down, mask, value, distance, width, where);
}
template <class T>
METTLE_DEVICE T shuffle_xor(std::uint32_t mask, T value, int lanes, int width = warp_size,
                            Where where = Where::current()) {
  return detail::shuffle(emulation::Shuffle::exclusive_or, mask, value, lanes, width, where);
}
inline std::uint32_t ballot(std::uint32_t mask, bool vote, Where where = Where::current()) {
  return emulation::ballot(mask, vote, where);
}
inline bool any_lane(std::uint32_t mask, bool vote, Where where = Where::current()) {
  return emulation::ballot(mask, vote, where) != 0;
}
inline bool all_lanes(std::uint32_t mask, bool vote, Where where = Where::current()) {
  return emulation::ballot(mask, vote, where) == mask;
}

// ---- dynamic shared memory ----------------------------------------------------------------------
class SharedCarver {
 public:
  template <class T, int alignment = 128> T* take(int count, Where where = Where::current()) {
    static_assert(alignment >= 128 && alignment <= 1024 && (alignment & (alignment - 1)) == 0);
    const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(count);
    offset_ = (offset_ + alignment - 1) / alignment * alignment;
    void* array = emulation::dynamic_array(offset_, bytes, alignment, where);
    offset_ += bytes;
    return static_cast<T*>(array);
  }

 private:
  std::size_t offset_ = 0;
};

// ---- atomics ------------------------------------------------------------------------------------
// The emulation's library touches the memory: here it would be reported as a plain access.

namespace detail {

template <class T> METTLE_DEVICE T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  return value;
}

template <class T> std::uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T, class F> METTLE_DEVICE T change(T* at, F&& f, Where where) {
  const T old =
      from_bits<T>(emulation::atomic_load(at, sizeof(T), {.reads = true, .writes = true}, where));
  emulation::atomic_finish(at, sizeof(T), to_bits<T>(f(old)));
  return old;
}

}  // namespace detail

template <class T>
METTLE_DEVICE T atomic_add(T* at, std::type_identity_t<T> value, Where where = Where::current()) {
  const auto sum = [&](T old) { return static_cast<T>(old + value); };
  return detail::change(at, sum, where);
}
template <class T>
METTLE_DEVICE T atomic_min(T* at, std::type_identity_t<T> value, Where where = Where::current()) {
  static_assert(std::is_integral_v<T>);
  const auto smaller = [&](T old) { return value < old ? value : old; };
  return detail::change(at, smaller, where);
}
template <class T>
METTLE_DEVICE T atomic_max(T* at, std::type_identity_t<T> value, Where where = Where::current()) {
  static_assert(std::is_integral_v<T>);
  const auto larger = [&](T old) { return old < value ? value : old; };
  return detail::change(at, larger, where);
}
template <class T>
METTLE_DEVICE T atomic_exchange(T* at, std::type_identity_t<T> value,
                                Where where = Where::current()) {
  const auto other = [&](T) { return value; };
  return detail::change(at, other, where);
}
template <class T>
METTLE_DEVICE T atomic_compare_exchange(T* at, std::type_identity_t<T> expected,
                                        std::type_identity_t<T> value,
                                        Where where = Where::current()) {
  static_assert(std::is_integral_v<T>);
  const auto other = [&](T old) { return old == expected ? value : old; };
  return detail::change(at, other, where);
}
template <class T> METTLE_DEVICE T load_acquire(const T* at, Where where = Where::current()) {
  const emulation::AtomicKind kind{.reads = true, .writes = false, .acquires = true};
  return detail::from_bits<T>(emulation::atomic_load(at, sizeof(T), kind, where));
}
template <class T>
void store_release(T* at, std::type_identity_t<T> value, Where where = Where::current()) {
  const emulation::AtomicKind kind{
      .reads = false, .writes = true, .acquires = false, .releases = true};
  emulation::atomic_load(at, sizeof(T), kind, where);
  emulation::atomic_finish(at, sizeof(T), detail::to_bits<T>(value));
}

// ---- mathematics --------------------------------------------------------------------------------
inline float fast_exp2(float x) { return std::exp2(x); }
inline float fast_exp(float x) { return std::exp(x); }
inline float fast_log(float x) { return std::log(x); }
inline float fast_divide(float x, float y) { return x / y; }
inline float reciprocal_sqrt(float x) { return 1.0f / std::sqrt(x); }
inline double reciprocal_sqrt(double x) { return 1.0 / std::sqrt(x); }
inline float maximum(float x, float y) { return std::fmax(x, y); }
inline double maximum(double x, double y) { return std::fmax(x, y); }
inline int maximum(int x, int y) { return x < y ? y : x; }
inline float minimum(float x, float y) { return std::fmin(x, y); }
inline double minimum(double x, double y) { return std::fmin(x, y); }
inline int minimum(int x, int y) { return y < x ? y : x; }
inline float infinity() { return std::numeric_limits<float>::infinity(); }
inline int count_bits(std::uint32_t bits) { return std::popcount(bits); }

// ---- numbers as bits and in 16 bits -------------------------------------------------------------
inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return x; }
inline float to_float(f16 x) { return x; }
template <class T> METTLE_DEVICE T round_to(float x) { return T(x); }
/// Two numbers in one register, `low` in the lower half.
template <class T> std::uint32_t pack_halves(float low, float high) {
  return T(low).bits | std::uint32_t{T(high).bits} << 16;
}

}  // namespace mettle::dev
