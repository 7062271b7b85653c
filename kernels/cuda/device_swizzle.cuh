// What is made of the vocabulary's words, for every compiler alike: places in swizzled tiles, for
// kernels that read or write them with plain accesses.
#pragma once

namespace mettle::dev {

/// Where byte `offset` of an unswizzled tile is, for one that is aligned to swizzle_alignment().
template <Swizzle swizzle> METTLE_DEVICE int swizzled(int offset) {
  constexpr int units = 1 << static_cast<int>(swizzle);  // of 16 bytes in a row
  return offset ^ ((offset >> 7) & (units - 1)) << 4;
}

}  // namespace mettle::dev
