// Vector helpers shared by the CPU kernels, compiled once per SIMD target (Highway, run-time
// dispatch): load any float dtype as f32 or f64, store it rounded once, walk a row with its tail.
//
//   hn::ScalableTag<accumulate_t<T>> d;
//   for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
//     store(d, f(load(d, x + i, span)), y + i, span);
//   });
//
// The body is compiled twice: for whole vectors (Full) and for the tail (Part), whose missing lanes
// are loaded as zeros and not stored.
#if defined(METTLE_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_SIMD_INL_H_
#undef METTLE_KERNELS_CPU_SIMD_INL_H_
#else
#define METTLE_KERNELS_CPU_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstring>

#include "engine/dtype.h"

// Every lambda that touches vectors carries this: clang does not apply the file's target to
// lambdas.
#ifndef METTLE_LANES
#define METTLE_LANES HWY_ATTR __attribute__((always_inline))
#endif

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

struct Full {};
struct Part {
  std::size_t n;
};

// ---- loads -------------------------------------------------------------------------------------

template <class D> HWY_INLINE hn::Vec<D> load(D d, const hn::TFromD<D>* p, Full) {
  return hn::LoadU(d, p);
}

template <class D> HWY_INLINE hn::Vec<D> load(D d, const bf16* p, Full) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

// Below AVX2 Highway's own conversion knows neither infinity nor NaN.
template <class D> HWY_INLINE hn::Vec<D> load(D d, const f16* p, Full) {
#if HWY_TARGET <= HWY_AVX2
  const hn::Rebind<hwy::float16_t, D> d16;
  return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
#else
  float lanes[hn::MaxLanes(d)];
  for (std::size_t i = 0; i < hn::MaxLanes(d); ++i) lanes[i] = static_cast<float>(p[i]);
  return hn::LoadU(d, lanes);
#endif
}

template <class D, class T> HWY_INLINE hn::Vec<D> load(D d, const T* p, Part part) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    return hn::MaskedLoad(hn::FirstN(d, part.n), d, p);
  } else
#endif
  {
    T lanes[hn::MaxLanes(d)] = {};
    std::memcpy(lanes, p, part.n * sizeof(T));
    return load(d, lanes, Full{});
  }
}

// ---- stores, rounding to nearest even ----------------------------------------------------------

template <class D> HWY_INLINE void store(D d, hn::Vec<D> v, hn::TFromD<D>* p, Full) {
  hn::StoreU(v, d, p);
}

template <class D> HWY_INLINE void store(D, hn::Vec<D> v, bf16* p, Full) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<std::uint16_t, D> d16;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
  const auto chosen = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
  const auto half = hn::DemoteTo(d16, hn::BitCast(di, hn::ShiftRight<16>(chosen)));
  hn::StoreU(half, d16, reinterpret_cast<std::uint16_t*>(p));
}

template <class D> HWY_INLINE void store(D d, hn::Vec<D> v, f16* p, Full) {
#if HWY_TARGET <= HWY_AVX2
  const hn::Rebind<hwy::float16_t, D> d16;
  (void)d;
  hn::StoreU(hn::DemoteTo(d16, v), d16, reinterpret_cast<hwy::float16_t*>(p));
#else
  float lanes[hn::MaxLanes(d)];
  hn::StoreU(v, d, lanes);
  for (std::size_t i = 0; i < hn::MaxLanes(d); ++i) p[i] = f16(lanes[i]);
#endif
}

template <class D, class T> HWY_INLINE void store(D d, hn::Vec<D> v, T* p, Part part) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    hn::BlendedStore(v, hn::FirstN(d, part.n), d, p);
  } else
#endif
  {
    T lanes[hn::MaxLanes(d)];
    store(d, v, lanes, Full{});
    std::memcpy(p, lanes, part.n * sizeof(T));
  }
}

// A nullable row reads as a constant.
template <class D, class T, class S>
HWY_INLINE hn::Vec<D> load_or(D d, const T* base, std::size_t i, S span, hn::Vec<D> otherwise) {
  return base ? load(d, base + i, span) : otherwise;
}

// ---- loops and sums ----------------------------------------------------------------------------

template <class D, class Body> HWY_INLINE void for_lanes(D d, std::size_t n, Body body) {
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, Full{});
  if (i < n) body(i, Part{n - i});
}

template <class D> HWY_INLINE hn::Vec<D> zero_missing(D, hn::Vec<D> v, Full) { return v; }
template <class D> HWY_INLINE hn::Vec<D> zero_missing(D d, hn::Vec<D> v, Part part) {
  return hn::IfThenElseZero(hn::FirstN(d, part.n), v);
}

template <class D> HWY_INLINE hn::TFromD<D> sum(D d, hn::Vec<D> v) {
  return hn::GetLane(hn::SumOfLanes(d, v));
}

/// The sum over i in [0, n) of f(i, span), in four interleaved accumulators that hide the latency
/// of addition.
template <class D, class F> HWY_INLINE hn::TFromD<D> sum_lanes(D d, std::size_t n, F f) {
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, f(i, Full{}));
    s1 = hn::Add(s1, f(i + lanes, Full{}));
    s2 = hn::Add(s2, f(i + 2 * lanes, Full{}));
    s3 = hn::Add(s3, f(i + 3 * lanes, Full{}));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, f(i, Full{}));
  if (i < n) {
    const Part part{n - i};
    s1 = hn::Add(s1, zero_missing(d, f(i, part), part));
  }
  return sum(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
