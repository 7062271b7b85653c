// Philox4x32-10 (engine/random.h) on vectors: the same words as PhiloxKey::bits, eight blocks at a
// time with AVX-512. Included once per SIMD target (Highway's foreach_target).
#if defined(METTLE_KERNELS_CPU_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_PHILOX_INL_H_
#undef METTLE_KERNELS_CPU_PHILOX_INL_H_
#else
#define METTLE_KERNELS_CPU_PHILOX_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/random.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::random::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::int64_t blocks_per_vector = hn::MaxLanes(hn::ScalableTag<std::uint64_t>());
inline constexpr std::int64_t words_per_vector = 4 * blocks_per_vector;

#if HWY_TARGET == HWY_SCALAR
/// Writes the words of block `first` to out.
inline void philox_words(PhiloxKey key, std::uint64_t first, std::uint32_t* out) {
  const PhiloxBlock block = key.block(first);
  std::copy(block.word, block.word + 4, out);
}
#else
/// Writes the words of blocks first, first + 1, ... to out: words_per_vector of them.
/// Each u64 lane holds one block's word in its low half; the high half may hold rubbish, because
/// the multiplication reads the low halves only.
inline void philox_words(PhiloxKey key, std::uint64_t first, std::uint32_t* out) {
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Repartition<std::uint32_t, decltype(d64)> d32;
  const auto low_half = hn::Set(d64, 0xffffffffu);
  const auto multiply = [&](auto a, auto b) {
    return hn::MulEven(hn::BitCast(d32, a), hn::BitCast(d32, b));
  };
  const auto m0 = hn::Set(d64, 0xD2511F53u), m1 = hn::Set(d64, 0xCD9E8D57u);
  auto c0 = hn::Iota(d64, first);
  auto c1 = hn::ShiftRight<32>(c0);
  auto c2 = hn::Set(d64, key.offset);
  auto c3 = hn::ShiftRight<32>(c2);
  auto k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const auto p0 = multiply(c0, m0), p1 = multiply(c2, m1);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d64, k0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d64, k1));
    c1 = p1;
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const auto even = hn::Or(hn::And(c0, low_half), hn::ShiftLeft<32>(c1));
  const auto odd = hn::Or(hn::And(c2, low_half), hn::ShiftLeft<32>(c3));
  alignas(64) std::uint64_t pairs[2 * blocks_per_vector];
  hn::StoreInterleaved2(even, odd, d64, pairs);
  std::memcpy(out, pairs, sizeof(pairs));
}
#endif

}  // namespace mettle::kernels::cpu::random::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
