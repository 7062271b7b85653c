// What kernels compiled with -fsanitize=thread call before every load and store. They are linked
// without the thread sanitizer: these functions take the place of its runtime and tell the
// emulation.
//
// g++ and clang call different sets of them; both are here. Atomic operations of the language come
// as calls that also have to do the operation; threads of the emulation never run at the same time,
// so plain memory accesses do.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/emulation/runtime.h"

namespace {

using mettle::emulation::atomic_access;
using mettle::emulation::plain_access;

void tell(const volatile void* at, std::size_t bytes, bool reads, bool writes, int order,
          const void* caller) {
  const bool both = order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
  atomic_access(const_cast<const void*>(at), bytes,
                {.reads = reads,
                 .writes = writes,
                 .acquires = both || order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME,
                 .releases = both || order == __ATOMIC_RELEASE},
                caller);
}

template <class T, class F> T change(volatile T* at, int order, const void* caller, F&& f) {
  tell(at, sizeof(T), true, true, order, caller);
  const T before = *at;
  *at = f(before);
  return before;
}

template <class T>
bool exchange_if(volatile T* at, T* expected, T value, int order, const void* caller) {
  const T wanted = *expected;
  *expected =
      change(at, order, caller, [&](T before) { return before == wanted ? value : before; });
  return *expected == wanted;
}

}  // namespace

// Names and types are the compilers'.
// NOLINTBEGIN(bugprone-*,readability-identifier-naming)
#define METTLE_CALLER __builtin_return_address(0)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define METTLE_HOOK(name, bytes, write) \
  void name(void* at) { plain_access(at, bytes, write, METTLE_CALLER); }
#define METTLE_HOOKS(bytes)                                        \
  METTLE_HOOK(__tsan_read##bytes, bytes, false)                    \
  METTLE_HOOK(__tsan_write##bytes, bytes, true)                    \
  METTLE_HOOK(__tsan_unaligned_read##bytes, bytes, false)          \
  METTLE_HOOK(__tsan_unaligned_write##bytes, bytes, true)          \
  METTLE_HOOK(__tsan_volatile_read##bytes, bytes, false)           \
  METTLE_HOOK(__tsan_volatile_write##bytes, bytes, true)           \
  METTLE_HOOK(__tsan_unaligned_volatile_read##bytes, bytes, false) \
  METTLE_HOOK(__tsan_unaligned_volatile_write##bytes, bytes, true) \
  void __tsan_read_write##bytes(void* at) {                        \
    plain_access(at, bytes, false, METTLE_CALLER);                 \
    plain_access(at, bytes, true, METTLE_CALLER);                  \
  }                                                                \
  void __tsan_unaligned_read_write##bytes(void* at) {              \
    plain_access(at, bytes, false, METTLE_CALLER);                 \
    plain_access(at, bytes, true, METTLE_CALLER);                  \
  }
METTLE_HOOKS(1)
METTLE_HOOKS(2)
METTLE_HOOKS(4)
METTLE_HOOKS(8)
METTLE_HOOKS(16)

void __tsan_vptr_update(void** at, void*) { plain_access(at, sizeof(void*), true, METTLE_CALLER); }
void __tsan_vptr_read(void** at) { plain_access(at, sizeof(void*), false, METTLE_CALLER); }
void __tsan_read_range(void* at, unsigned long bytes) {
  plain_access(at, bytes, false, METTLE_CALLER);
}
void __tsan_write_range(void* at, unsigned long bytes) {
  plain_access(at, bytes, true, METTLE_CALLER);
}

void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  plain_access(from, bytes, false, METTLE_CALLER);
  plain_access(to, bytes, true, METTLE_CALLER);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  plain_access(from, bytes, false, METTLE_CALLER);
  plain_access(to, bytes, true, METTLE_CALLER);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  plain_access(to, bytes, true, METTLE_CALLER);
  return std::memset(to, value, bytes);
}

#define METTLE_CHANGE(T, bits, name, expression)                                          \
  T __tsan_atomic##bits##_##name(volatile T* at, T value, int order) {                    \
    return change(at, order, METTLE_CALLER,                                               \
                  [&]([[maybe_unused]] T before) { return static_cast<T>(expression); }); \
  }
#define METTLE_ATOMICS(T, bits)                                                                \
  T __tsan_atomic##bits##_load(const volatile T* at, int order) {                              \
    tell(at, sizeof(T), true, false, order, METTLE_CALLER);                                    \
    return *at;                                                                                \
  }                                                                                            \
  void __tsan_atomic##bits##_store(volatile T* at, T value, int order) {                       \
    tell(at, sizeof(T), false, true, order, METTLE_CALLER);                                    \
    *at = value;                                                                               \
  }                                                                                            \
  METTLE_CHANGE(T, bits, exchange, value)                                                      \
  METTLE_CHANGE(T, bits, fetch_add, before + value)                                            \
  METTLE_CHANGE(T, bits, fetch_sub, before - value)                                            \
  METTLE_CHANGE(T, bits, fetch_and, before& value)                                             \
  METTLE_CHANGE(T, bits, fetch_or, before | value)                                             \
  METTLE_CHANGE(T, bits, fetch_xor, before ^ value)                                            \
  METTLE_CHANGE(T, bits, fetch_nand, ~(before & value))                                        \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* at, T* expected, T value,     \
                                                     int order, int) {                         \
    return exchange_if(at, expected, value, order, METTLE_CALLER);                             \
  }                                                                                            \
  bool __tsan_atomic##bits##_compare_exchange_weak(volatile T* at, T* expected, T value,       \
                                                   int order, int) {                           \
    return exchange_if(at, expected, value, order, METTLE_CALLER);                             \
  }                                                                                            \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* at, T expected, T value, int order, \
                                               int) {                                          \
    exchange_if(at, &expected, value, order, METTLE_CALLER);                                   \
    return expected;                                                                           \
  }
METTLE_ATOMICS(std::uint8_t, 8)
METTLE_ATOMICS(std::uint16_t, 16)
METTLE_ATOMICS(std::uint32_t, 32)
METTLE_ATOMICS(std::uint64_t, 64)
__extension__ using Wide = unsigned __int128;
METTLE_ATOMICS(Wide, 128)

void __tsan_atomic_thread_fence(int) { mettle::emulation::fence(); }
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"
// NOLINTEND(bugprone-*,readability-identifier-naming)
