// Philox4x32-10 (engine/random.h) on vectors: the same words as PhiloxKey::bits, 32 blocks at a
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
/// Vectors that are computed side by side: a round is a chain of dependent instructions, and only
/// several chains keep the multipliers busy. As many as the registers hold.
inline constexpr int vectors_in_flight = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
/// philox_words writes whole vectors: at most this many words more than asked for.
inline constexpr std::int64_t words_slack = words_per_vector;

#if HWY_TARGET == HWY_SCALAR
template <int Vectors> void philox_vectors(PhiloxKey key, std::uint64_t first, std::uint32_t* out) {
  for (int v = 0; v < Vectors; ++v) {
    const PhiloxBlock block = key.block(first + static_cast<std::uint64_t>(v));
    std::copy(block.word, block.word + 4, out + 4 * v);
  }
}
#else
// Each u64 lane holds one block's word in its low half; the high half may hold rubbish, because the
// multiplication reads the low halves only.
template <int Vectors>
HWY_INLINE void philox_vectors(PhiloxKey key, std::uint64_t first, std::uint32_t* out) {
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Repartition<std::uint32_t, decltype(d64)> d32;
  using V = hn::Vec<decltype(d64)>;
  const auto m0 = hn::Set(d32, 0xD2511F53u), m1 = hn::Set(d32, 0xCD9E8D57u);
  V c0[Vectors], c1[Vectors], c2[Vectors], c3[Vectors];
  for (int v = 0; v < Vectors; ++v) {
    c0[v] = hn::Iota(d64, first + static_cast<std::uint64_t>(v * blocks_per_vector));
    c1[v] = hn::ShiftRight<32>(c0[v]);
    c2[v] = hn::Set(d64, key.offset);
    c3[v] = hn::ShiftRight<32>(c2[v]);
  }
  auto k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const auto key0 = hn::Set(d64, k0), key1 = hn::Set(d64, k1);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const auto p0 = hn::MulEven(hn::BitCast(d32, c0[v]), m0);
      const auto p1 = hn::MulEven(hn::BitCast(d32, c2[v]), m1);
      c0[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1[v]), key0);
      c2[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3[v]), key1);
      c1[v] = p1;
      c3[v] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const auto low_half = hn::Set(d64, 0xffffffffu);
  for (int v = 0; v < Vectors; ++v) {
    const auto even = hn::Or(hn::And(c0[v], low_half), hn::ShiftLeft<32>(c1[v]));
    const auto odd = hn::Or(hn::And(c2[v], low_half), hn::ShiftLeft<32>(c3[v]));
    alignas(64) std::uint64_t pairs[2 * blocks_per_vector];
    hn::StoreInterleaved2(even, odd, d64, pairs);
    std::memcpy(out + v * words_per_vector, pairs, sizeof(pairs));
  }
}
#endif

/// Writes the words of blocks first, first + 1, ... to out: `count` of them and up to words_slack
/// more.
inline void philox_words(PhiloxKey key, std::uint64_t first, std::int64_t count,
                         std::uint32_t* out) {
  constexpr std::int64_t batch = vectors_in_flight * words_per_vector;
  std::int64_t done = 0;
  const auto block = [&] { return first + static_cast<std::uint64_t>(done / 4); };
  for (; done + batch <= count; done += batch)
    philox_vectors<vectors_in_flight>(key, block(), out + done);
  for (; done < count; done += words_per_vector) philox_vectors<1>(key, block(), out + done);
}

}  // namespace mettle::kernels::cpu::random::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
