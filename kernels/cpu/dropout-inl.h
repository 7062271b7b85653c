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

template <class A> class DropoutFactors {
 public:
  DropoutFactors(PhiloxKey key, double p)
      : key_(key.value()), threshold_(drop_threshold(p)), kept_(static_cast<A>(1 / (1 - p))) {}

  /// Fills `room` (count + dropout_slack numbers) and returns where in it the factor of element
  /// `first` stands; those of the `count` elements follow.
  const A* fill(std::int64_t first, std::int64_t count, A* room) const {
    if (threshold_ == 0) {
      std::fill_n(room, count, kept_);
      return room;
    }
    const std::int64_t skipped = first % 4;  // a Philox block makes four words
    random::HWY_NAMESPACE::philox_each(key_, static_cast<std::uint64_t>(first / 4), skipped + count,
                                       [&](std::int64_t i, auto words)
                                           METTLE_LANES { store_factors(words, room + i); });
    return room + skipped;
  }

  /// Calls use(i, span, factor), i from 0 up to `count` by vectors, with the factors of elements
  /// first + i, .... Where they can be used in the registers that they are made in, memory is busy
  /// meanwhile.
  template <class Use>
  HWY_INLINE void each(std::int64_t first, std::int64_t count, const Use& use) const {
    const hn::ScalableTag<A> d;
    std::int64_t done = 0;
    if constexpr (std::is_same_v<A, float>) {
      constexpr std::int64_t vector = random::HWY_NAMESPACE::words_per_vector;
      if (first % 4 == 0 && threshold_ != 0) {
        done = count / vector * vector;
        random::HWY_NAMESPACE::philox_each(
            key_, static_cast<std::uint64_t>(first / 4), done,
            [&](std::int64_t i, auto words)
                METTLE_LANES { use(static_cast<std::size_t>(i), Full{}, factors_of(words)); });
      }
    }
    constexpr std::int64_t strip = 512;
    A room[strip + dropout_slack];
    for (; done < count; done += strip) {
      const std::int64_t size = std::min(strip, count - done);
      const A* factor = fill(first + done, size, room);
      for_lanes(d, static_cast<std::size_t>(size), [&](std::size_t i, auto span) METTLE_LANES {
        use(static_cast<std::size_t>(done) + i, span, load(d, factor + i, span));
      });
    }
  }

 private:
  template <class V> HWY_INLINE auto factors_of(V words) const {
    const hn::DFromV<V> du;
    const hn::RebindToFloat<decltype(du)> d;
    const auto drops = hn::RebindMask(d, hn::Lt(words, hn::Set(du, threshold_)));
    return hn::IfThenZeroElse(drops, hn::Set(d, static_cast<float>(kept_)));
  }
  template <class V> HWY_INLINE void store_factors(V words, float* out) const {
    hn::StoreU(factors_of(words), hn::RebindToFloat<hn::DFromV<V>>(), out);
  }
  template <class V> HWY_INLINE void store_factors(V words, double* out) const {
    const hn::DFromV<V> du;
    std::uint32_t lanes[hn::MaxLanes(du)];
    hn::StoreU(words, du, lanes);
    for (const std::uint32_t word : lanes) *out++ = dropout_keeps(word, threshold_) ? kept_ : A{0};
  }

  PhiloxKey key_;
  std::uint32_t threshold_;
  A kept_;
};

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
