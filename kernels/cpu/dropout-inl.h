// The factors of dropout (0 or 1 / (1 - p)) for a run of elements, made from the Philox stream.
#if defined(METTLE_KERNELS_CPU_DROPOUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_DROPOUT_INL_H_
#undef METTLE_KERNELS_CPU_DROPOUT_INL_H_
#else
#define METTLE_KERNELS_CPU_DROPOUT_INL_H_
#endif

#include <algorithm>

#include "engine/random.h"
#include "kernels/cpu/philox-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

/// Room that DropoutFactors::fill needs beyond the elements asked for.
inline constexpr std::int64_t dropout_slack = 4 + random::HWY_NAMESPACE::words_slack;

/// room[i] = words[i] >= threshold ? kept : 0.
inline void keep_or_drop(const std::uint32_t* words, std::int64_t n, std::uint32_t threshold,
                         float kept, float* room) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  for_lanes(d, static_cast<std::size_t>(n), [&](std::size_t i, auto span) METTLE_LANES {
    const auto drops = hn::Lt(load(du, words + i, span), hn::Set(du, threshold));
    store(d, hn::IfThenZeroElse(hn::RebindMask(d, drops), hn::Set(d, kept)), room + i, span);
  });
}
inline void keep_or_drop(const std::uint32_t* words, std::int64_t n, std::uint32_t threshold,
                         double kept, double* room) {
  for (std::int64_t i = 0; i < n; ++i) room[i] = dropout_keeps(words[i], threshold) ? kept : 0.0;
}

template <class A> class DropoutFactors {
 public:
  DropoutFactors(PhiloxKey key, double p)
      : key_(key), threshold_(drop_threshold(p)), kept_(static_cast<A>(1 / (1 - p))) {}

  /// Fills `room` (count + dropout_slack numbers) and returns where in it the factor of element
  /// `first` stands; those of the `count` elements follow.
  const A* fill(std::int64_t first, std::int64_t count, A* room) const {
    if (threshold_ == 0) {
      std::fill_n(room, count, kept_);
      return room;
    }
    constexpr std::int64_t strip = 512;
    std::uint32_t words[strip + random::HWY_NAMESPACE::words_slack];
    const std::int64_t skipped = first % 4;  // a Philox block makes four words
    const std::int64_t wanted = skipped + count;
    for (std::int64_t done = 0; done < wanted; done += strip) {
      const std::int64_t n = std::min(strip, wanted - done);
      random::HWY_NAMESPACE::philox_words(key_, static_cast<std::uint64_t>((first + done) / 4), n,
                                          words);
      keep_or_drop(words, n, threshold_, kept_, room + done);
    }
    return room + skipped;
  }

 private:
  PhiloxKey key_;
  std::uint32_t threshold_;
  A kept_;
};

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
