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

/// Turns words of the stream into factors: room[i] = word i >= threshold ? kept : 0.
template <class A> struct StoreFactors;
template <> struct StoreFactors<float> {
  std::uint32_t threshold;
  float kept;
  float* room;
  template <class V> HWY_INLINE void operator()(std::int64_t i, V words) const {
    const hn::DFromV<V> du;
    const hn::RebindToFloat<decltype(du)> d;
    const auto drops = hn::RebindMask(d, hn::Lt(words, hn::Set(du, threshold)));
    hn::StoreU(hn::IfThenZeroElse(drops, hn::Set(d, kept)), d, room + i);
  }
};
template <> struct StoreFactors<double> {
  std::uint32_t threshold;
  double kept;
  double* room;
  template <class V> HWY_INLINE void operator()(std::int64_t i, V words) const {
    const hn::DFromV<V> du;
    std::uint32_t lanes[hn::MaxLanes(du)];
    hn::StoreU(words, du, lanes);
    for (const std::uint32_t word : lanes) room[i++] = dropout_keeps(word, threshold) ? kept : 0.0;
  }
};

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
    const std::int64_t skipped = first % 4;  // a Philox block makes four words
    random::HWY_NAMESPACE::philox_each(key_, static_cast<std::uint64_t>(first / 4), skipped + count,
                                       StoreFactors<A>{threshold_, kept_, room});
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
