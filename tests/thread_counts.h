// The numbers of threads for which results must have the same bits.
#pragma once

namespace mettle::test {

/// One thread twice, because a repeat must not differ either; then a few more, an odd number, and
/// more than the machines of continuous integration have cores. Sanitizers, which look at accesses
/// and not at results, take minutes for each: there one of each kind.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kThreadCounts[] = {1, 5};
#else
inline constexpr int kThreadCounts[] = {1, 1, 2, 5, 8};
#endif

}  // namespace mettle::test
