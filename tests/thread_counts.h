// The numbers of threads for which results must have the same bits.
#pragma once

namespace mettle::test {

/// One thread twice, because a repeat must not differ either; then a few more, an odd number, and
/// more than the machines of continuous integration have cores.
inline constexpr int kThreadCounts[] = {1, 1, 2, 5, 8};

}  // namespace mettle::test
