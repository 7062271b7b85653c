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

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

/// Room that DropoutFactors::fill needs beyond the elements asked for.
inline constexpr std::int64_t dropout_slack = 2 * random::HWY_NAMESPACE::words_per_vector;

template <class A> class DropoutFactors {
 public:
  DropoutFactors(PhiloxKey key, double p)
      : key_(key), threshold_(drop_threshold(p)), kept_(static_cast<A>(1 / (1 - p))) {}

  /// Fills `room` (count + dropout_slack numbers) and returns where in it the factor of element
  /// `first` stands; those of the `count` elements follow.
  const A* fill(std::int64_t first, std::int64_t count, A* room) const {
    namespace philox = random::HWY_NAMESPACE;
    const std::int64_t skipped = first % 4;  // a Philox block makes four words
    if (threshold_ == 0) {
      std::fill_n(room, count, kept_);
      return room;
    }
    std::uint32_t words[philox::words_per_vector];
    auto block = static_cast<std::uint64_t>(first / 4);
    for (std::int64_t done = 0; done < skipped + count; done += philox::words_per_vector) {
      philox::philox_words(key_, block, words);
      for (std::int64_t i = 0; i < philox::words_per_vector; ++i)
        room[done + i] = dropout_keeps(words[i], threshold_) ? kept_ : A{0};
      block += static_cast<std::uint64_t>(philox::blocks_per_vector);
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
