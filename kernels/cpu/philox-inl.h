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
#include "kernels/cpu/simd-inl.h"

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

// Keys here hold their numbers: PhiloxKey::value().
//
// philox_vectors leaves its words with sink(i, words): words i, i + 1, ... of the stream, one
// vector.
#if HWY_TARGET == HWY_SCALAR
template <int Vectors, class Sink>
void philox_vectors(PhiloxKey key, std::uint64_t first, const Sink& sink) {
  const hn::ScalableTag<std::uint32_t> d;
  for (int v = 0; v < Vectors; ++v) {
    const PhiloxBlock block = key.block(first + static_cast<std::uint64_t>(v));
    for (int i = 0; i < 4; ++i) sink(4 * v + i, hn::Set(d, block.word[i]));
  }
}
#else
// Each u64 lane holds one block's word in its low half; the high half may hold rubbish, because the
// multiplication reads the low halves only. Of N lanes the even ones hold blocks 0 to N/2 - 1 and
// the odd ones the rest: so interleaving the pairs of words within 128 bits leaves the words in the
// order of the stream.
template <int Vectors, class Sink>
HWY_INLINE void philox_vectors(PhiloxKey key, std::uint64_t first, const Sink& sink) {
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Repartition<std::uint32_t, decltype(d64)> d32;
  using V = hn::Vec<decltype(d64)>;
  constexpr auto lanes = static_cast<std::uint64_t>(blocks_per_vector);
  alignas(64) std::uint64_t block_of_lane[lanes];
  for (std::uint64_t lane = 0; lane < lanes; ++lane)
    block_of_lane[lane] = lane / 2 + (lane % 2) * (lanes / 2);
  const auto order = hn::Load(d64, block_of_lane);
  const auto m0 = hn::Set(d32, 0xD2511F53u), m1 = hn::Set(d32, 0xCD9E8D57u);
  V c0[Vectors], c1[Vectors], c2[Vectors], c3[Vectors];
  for (int v = 0; v < Vectors; ++v) {
    c0[v] = hn::Add(order, hn::Set(d64, first + static_cast<std::uint64_t>(v) * lanes));
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
      c0[v] = hn::Xor3(hn::ShiftRight<32>(p1), c1[v], key0);
      c2[v] = hn::Xor3(hn::ShiftRight<32>(p0), c3[v], key1);
      c1[v] = p1;
      c3[v] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const auto pair = [&](V low, V high) METTLE_LANES {
    return hn::BitCast(
        d64, hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(high)), hn::BitCast(d32, low)));
  };
  for (int v = 0; v < Vectors; ++v) {
    const auto front = pair(c0[v], c1[v]), back = pair(c2[v], c3[v]);
    sink(v * words_per_vector, hn::BitCast(d32, hn::InterleaveLower(d64, front, back)));
    sink(v * words_per_vector + words_per_vector / 2,
         hn::BitCast(d32, hn::InterleaveUpper(d64, front, back)));
  }
}
#endif

/// Hands the words of blocks first, first + 1, ... to sink(i, words), a vector at a time: `count`
/// of them and up to words_slack more.
template <class Sink>
HWY_INLINE void philox_each(PhiloxKey key, std::uint64_t first, std::int64_t count,
                            const Sink& sink) {
  constexpr std::int64_t batch = vectors_in_flight * words_per_vector;
  std::int64_t done = 0;
  const auto block = [&] { return first + static_cast<std::uint64_t>(done / 4); };
  const auto onward = [&](std::int64_t i, auto words) METTLE_LANES { sink(done + i, words); };
  for (; done + batch <= count; done += batch)
    philox_vectors<vectors_in_flight>(key, block(), onward);
  for (; done < count; done += words_per_vector) philox_vectors<1>(key, block(), onward);
}

/// The same, written to out.
inline void philox_words(PhiloxKey key, std::uint64_t first, std::int64_t count,
                         std::uint32_t* out) {
  const hn::ScalableTag<std::uint32_t> d;
  philox_each(key, first, count,
              [&](std::int64_t i, auto words) METTLE_LANES { hn::StoreU(words, d, out + i); });
}

}  // namespace mettle::kernels::cpu::random::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
