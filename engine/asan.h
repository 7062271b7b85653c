// Telling the address sanitizer which bytes nobody may touch; nothing without it.
#pragma once

#include <cstddef>

#if !defined(__has_feature)
#define __has_feature(feature) 0  // NOLINT(bugprone-reserved-identifier): g++ has none
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define METTLE_ASAN 1
#include <sanitizer/asan_interface.h>
#else
#define METTLE_ASAN 0
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace mettle {

inline void forbid(const void* address, std::size_t bytes) {
  ASAN_POISON_MEMORY_REGION(address, bytes);
}
inline void allow(const void* address, std::size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(address, bytes);
}

}  // namespace mettle
