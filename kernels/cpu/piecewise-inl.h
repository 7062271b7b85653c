// Evaluates a Piecewise table on vectors of f32 where a permutation of two registers looks up 32
// floats at once (AVX-512): about half of the instructions of an exponential and a reciprocal.
#if defined(METTLE_KERNELS_CPU_PIECEWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_PIECEWISE_INL_H_
#undef METTLE_KERNELS_CPU_PIECEWISE_INL_H_
#else
#define METTLE_KERNELS_CPU_PIECEWISE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/piecewise.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Whether this target can evaluate tables in numbers of type A.
template <class A>
inline constexpr bool looks_up_pieces = std::is_same_v<A, float>&& HWY_TARGET <= HWY_AVX3;

#if HWY_TARGET <= HWY_AVX3
/// A table in registers. Make one before the loop.
template <std::size_t degree> class PiecewiseLanes {
 public:
  using D = hn::ScalableTag<float>;
  using V = hn::Vec<D>;

  HWY_INLINE explicit PiecewiseLanes(const Piecewise<degree>& table)
      : per_unit_(hn::Set(D(), table.per_unit)), end_(hn::Set(D(), table.end)) {
    for (std::size_t k = 0; k <= degree; ++k) {
      low_[k] = hn::Load(D(), table.coefficients[k]);
      high_[k] = hn::Load(D(), table.coefficients[k] + hn::Lanes(D()));
    }
  }

  /// f(a) for 0 <= a <= end; any number for lanes outside.
  HWY_INLINE V operator()(V a) const {
    const D d;
    const auto shifter = hn::Set(d, 0x1.8p23f);  // adding it rounds to an integer
    const auto shifted = hn::MulAdd(a, per_unit_, shifter);
    // Fused: a rounded product would cost digits where f falls steeply.
    const auto r = hn::MulSub(a, per_unit_, hn::Sub(shifted, shifter));
    V y = piece(degree, shifted);
#pragma GCC unroll 16
    for (std::size_t k = degree; k > 0; --k) y = hn::MulAdd(y, r, piece(k - 1, shifted));
    return y;
  }

  /// y where the table holds; formula() in lanes with a beyond its end or NaN, which are rare
  /// enough for a branch.
  template <class Formula> HWY_INLINE V or_beyond(V a, V y, const Formula& formula) const {
    const D d;
    const auto beyond = hn::Not(hn::Le(a, end_));
    if (HWY_LIKELY(hn::AllFalse(d, beyond))) return y;
    return hn::IfThenElse(beyond, formula(), y);
  }

 private:
  // The permutation reads the low five bits of an index: the integer's last, in the mantissa.
  HWY_INLINE V piece(std::size_t k, V shifted) const {
    return V{_mm512_permutex2var_ps(low_[k].raw, _mm512_castps_si512(shifted.raw), high_[k].raw)};
  }

  V per_unit_, end_;
  V low_[degree + 1], high_[degree + 1];
};
#endif

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
