// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011). A counter generator: number i of a stream is a pure function of (seed, offset, i), so
// every thread and every device makes the same bits without shared state. Host and device compile
// this same file.
#pragma once

#include <array>
#include <cstdint>

#include "engine/host_device.h"

namespace mettle {

struct PhiloxBlock {
  std::uint32_t word[4];
};

/// Ten rounds of Philox4x32 on a 128-bit counter and a 64-bit key.
METTLE_HD inline PhiloxBlock philox(std::uint64_t key, std::uint64_t counter_low,
                                    std::uint64_t counter_high) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t c0 = static_cast<std::uint32_t>(counter_low),
                c1 = static_cast<std::uint32_t>(counter_low >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(counter_high),
                c3 = static_cast<std::uint32_t>(counter_high >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53u) * c0;
    const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57u) * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<std::uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Names one reserved stretch of a random stream: plain data, passed into kernels.
/// Element i of the stretch is word (i % 4) of block (i / 4).
struct PhiloxKey {
  std::uint64_t seed = 0;
  std::uint64_t offset =
      0;  // goes to the upper half of the counter: one value per reserved stretch
  /// [2], in place of seed and offset, in the memory of the kernel's device: a captured graph finds
  /// the key of each launch there. Null: the two above. Only kernels of that device may look.
  const std::uint64_t* stored = nullptr;

  /// The same key with its numbers in it.
  METTLE_HD PhiloxKey value() const {
    return stored ? PhiloxKey{stored[0], stored[1], nullptr} : PhiloxKey{seed, offset, nullptr};
  }
  METTLE_HD std::uint32_t bits(std::uint64_t i) const { return block(i / 4).word[i % 4]; }
  METTLE_HD PhiloxBlock block(std::uint64_t i) const {
    const PhiloxKey k = value();
    return philox(k.seed, i, k.offset);
  }
  /// A stretch for part i of the computation that was given this one: under another seed, so that
  /// no part draws the numbers of another.
  METTLE_HD PhiloxKey fork(std::uint64_t i) const {
    const PhiloxKey k = value();
    const PhiloxBlock b = philox(k.seed, i, ~k.offset);
    return {(static_cast<std::uint64_t>(b.word[1]) << 32) | b.word[0],
            (static_cast<std::uint64_t>(b.word[3]) << 32) | b.word[2], nullptr};
  }
};

/// Dropout rule shared by every kernel on every device: element i is dropped when its bits are
/// below `drop_threshold(p)` = p * 2^32, with p in [0, 1) the probability of dropping.
METTLE_HD inline std::uint32_t drop_threshold(double p) {
  return static_cast<std::uint32_t>(p * 4294967296.0);
}
METTLE_HD inline bool dropout_keeps(std::uint32_t bits, std::uint32_t threshold) {
  return bits >= threshold;
}

/// A seed and a running offset; hands out keys that never overlap. Its two numbers are its whole
/// state, so saving and restoring them resumes the stream exactly. One Generator belongs to one
/// thread.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0, std::uint64_t offset = 0)
      : seed_(seed), offset_(offset) {}

  /// A fresh stretch of the stream, 2^66 numbers long.
  PhiloxKey next_key() { return {seed_, offset_++, nullptr}; }
  /// Uniform 64 random bits.
  std::uint64_t next_u64() {
    const PhiloxBlock b = next_key().block(0);
    return (static_cast<std::uint64_t>(b.word[1]) << 32) | b.word[0];
  }
  /// Uniform integer in [0, n), n > 0, without modulo bias (Lemire, "Fast random integer generation
  /// in an interval", 2019).
  std::uint64_t below(std::uint64_t n) {
    __extension__ using Wide = unsigned __int128;
    for (;;) {
      const Wide product = static_cast<Wide>(next_u64()) * n;
      if (static_cast<std::uint64_t>(product) >= (0 - n) % n)
        return static_cast<std::uint64_t>(product >> 64);
    }
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

  std::uint64_t seed() const { return seed_; }
  std::uint64_t offset() const { return offset_; }

 private:
  std::uint64_t seed_;
  std::uint64_t offset_;
};

}  // namespace mettle
