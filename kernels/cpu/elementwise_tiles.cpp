// Compiled once per instruction set by Highway; the best one for this machine is chosen at run
// time.
#include "kernels/cpu/elementwise_tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise_tiles.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/transcendental-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Functors: f(d, x, alpha, beta) on a vector of the tag d.
struct Affine {
  template <class D, class V> HWY_INLINE V operator()(D, V x, V alpha, V beta) const {
    return hn::MulAdd(x, alpha, beta);
  }
};
struct Abs {
  template <class D, class V> HWY_INLINE V operator()(D, V x, V, V) const { return hn::Abs(x); }
};
struct Sign {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    const auto one = hn::Set(d, 1);
    const auto sign = hn::IfThenElseZero(hn::Ne(x, hn::Zero(d)), hn::CopySign(one, x));
    return hn::IfThenElse(hn::IsNaN(x), x, sign);
  }
};
struct Exp {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const { return exp(d, x); }
  // Highway's Exp saturates below its smallest normal result; NaN and +inf are passed through by
  // hand.
  template <class D, class V> static HWY_INLINE V exp(D d, V x) {
    using T = hn::TFromD<D>;
    const auto huge = hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 88.7228391 : 709.782712893384));
    const auto inf = hn::Set(d, std::numeric_limits<T>::infinity());
    auto y = hn::Exp(d, hn::Min(x, huge));
    y = hn::IfThenElse(hn::Gt(x, huge), inf, y);
    return hn::IfThenElse(hn::IsNaN(x), x, y);
  }
};
// Highway's Log takes positive numbers; the rest as in the C library.
template <class D, class V> HWY_INLINE V LogarithmOf(D d, V x, V y) {
  using T = hn::TFromD<D>;
  const auto zero = hn::Zero(d);
  const auto inf = hn::Set(d, std::numeric_limits<T>::infinity());
  y = hn::IfThenElse(hn::Eq(x, inf), inf, y);
  y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(inf), y);
  return hn::IfThenElse(hn::Ge(x, zero), y, hn::NaN(d));
}
struct Log {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return LogarithmOf(d, x, hn::Log(d, x));
  }
};
struct Log1p {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    // With u = 1 + x rounded, log1p(x) = log(u) x / (u - 1): the errors of u cancel.
    const auto one = hn::Set(d, 1), u = hn::Add(one, x);
    const auto excess = hn::Sub(u, one);
    const auto y = hn::Mul(hn::Log(d, u), hn::Div(x, excess));
    return LogarithmOf(d, u, hn::IfThenElse(hn::Eq(excess, hn::Zero(d)), x, y));
  }
};
struct Softplus {
  // Neither term of max(x, 0) + log(1 + exp(-|x|)) overflows or cancels.
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    const auto e = Exp::exp(d, hn::Neg(hn::Abs(x)));
    return hn::Add(hn::Max(x, hn::Zero(d)), log1p_of_unit(d, e));
  }
};
struct Tanh {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return tanh_of(d, x);
  }
};
struct Erf {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const { return erf_of(d, x); }
};
// Highway's sine and cosine reduce arguments up to 39000; vectors with larger ones go through the C
// library.
template <class D, class V, class F> HWY_INLINE V FarAngles(D d, V x, V y, const F& f) {
  const auto near = hn::Le(hn::Abs(x), hn::Set(d, 39000));
  if (hn::AllTrue(d, near)) return y;
  using T = hn::TFromD<D>;
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(x, d, lanes);
  for (T& lane : lanes) lane = f(lane);
  return hn::IfThenElse(near, y, hn::Load(d, lanes));
}
struct Sin {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    const auto y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, hn::Sin(d, x));  // -0 stays -0
    return FarAngles(d, x, y, [](auto t) { return std::sin(t); });
  }
};
struct Cos {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return FarAngles(d, x, hn::Cos(d, x), [](auto t) { return std::cos(t); });
  }
};
struct Reciprocal {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return hn::Div(hn::Set(d, 1), x);
  }
};
struct Sqrt {
  template <class D, class V> HWY_INLINE V operator()(D, V x, V, V) const { return hn::Sqrt(x); }
};
struct Rsqrt {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return hn::Div(hn::Set(d, 1), hn::Sqrt(x));
  }
};
struct Sigmoid {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    // With e = exp(-|x|) <= 1 neither branch overflows: 1 / (1 + e) for x >= 0, e / (1 + e) below.
    const auto one = hn::Set(d, 1);
    const auto e = Exp::exp(d, hn::Neg(hn::Abs(x)));
    const auto numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one);
    return hn::Div(numerator, hn::Add(one, e));
  }
};
struct Relu {
  template <class D, class V> HWY_INLINE V operator()(D d, V x, V, V) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  }
};
struct Clamp {
  template <class D, class V> HWY_INLINE V operator()(D, V x, V low, V high) const {
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Min(hn::Max(x, low), high));
  }
};

struct Add {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Add(a, b); }
};
struct Sub {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Sub(a, b); }
};
struct Mul {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Mul(a, b); }
};
struct Div {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const { return hn::Div(a, b); }
};
struct Maximum {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const {
    return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
  }
};
struct Minimum {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const {
    return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
  }
};
struct TanhBackward {
  template <class D, class V> HWY_INLINE V operator()(D d, V dy, V y) const {
    return hn::Mul(dy, hn::NegMulAdd(y, y, hn::Set(d, 1)));
  }
};
struct SigmoidBackward {
  template <class D, class V> HWY_INLINE V operator()(D, V dy, V y) const {
    return hn::Mul(dy, hn::NegMulAdd(y, y, y));
  }
};

// Runs f over whole vectors; the rest passes through a padded vector, so every element sees the
// same code.
template <class T, class F> void Map1(const T* x, T* y, std::int64_t n, T alpha, T beta) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto va = hn::Set(d, alpha), vb = hn::Set(d, beta);
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) hn::StoreU(F()(d, hn::LoadU(d, x + j), va, vb), d, y + j);
  if (j == n) return;
  HWY_ALIGN T rest[hn::MaxLanes(hn::ScalableTag<T>())] = {};
  std::memcpy(rest, x + j, static_cast<std::size_t>(n - j) * sizeof(T));
  hn::Store(F()(d, hn::Load(d, rest), va, vb), d, rest);
  std::memcpy(y + j, rest, static_cast<std::size_t>(n - j) * sizeof(T));
}

template <class T, class F> void Map2(const T* a, const T* b, T* y, std::int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes)
    hn::StoreU(F()(d, hn::LoadU(d, a + j), hn::LoadU(d, b + j)), d, y + j);
  if (j == n) return;
  HWY_ALIGN T ra[hn::MaxLanes(hn::ScalableTag<T>())] = {};
  HWY_ALIGN T rb[hn::MaxLanes(hn::ScalableTag<T>())] = {};
  const auto bytes = static_cast<std::size_t>(n - j) * sizeof(T);
  std::memcpy(ra, a + j, bytes);
  std::memcpy(rb, b + j, bytes);
  hn::Store(F()(d, hn::Load(d, ra), hn::Load(d, rb)), d, ra);
  std::memcpy(y + j, ra, bytes);
}

template <class T>
void MapAddcmul(const T* x, const T* a, const T* b, T* y, std::int64_t n, T scale) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale);
  const auto at = [&](const T* px, const T* pa, const T* pb) {
    return hn::MulAdd(hn::Mul(factor, hn::LoadU(d, pa)), hn::LoadU(d, pb), hn::LoadU(d, px));
  };
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) hn::StoreU(at(x + j, a + j, b + j), d, y + j);
  if (j == n) return;
  HWY_ALIGN T rest[3][hn::MaxLanes(hn::ScalableTag<T>())] = {};
  const auto bytes = static_cast<std::size_t>(n - j) * sizeof(T);
  std::memcpy(rest[0], x + j, bytes);
  std::memcpy(rest[1], a + j, bytes);
  std::memcpy(rest[2], b + j, bytes);
  hn::StoreU(at(rest[0], rest[1], rest[2]), d, rest[0]);
  std::memcpy(y + j, rest[0], bytes);
}

// x^alpha of f32 through f64 logarithms, which leave one rounding. Vectors that hold anything but
// positive numbers or overflow, and all of f64, go through the C library.
template <class D64, class V64> HWY_INLINE V64 PositivePower(D64 d, V64 x, V64 alpha) {
  const auto limit = hn::Set(d, 700.0);  // f32 is 0 or infinite long before
  const auto e = hn::Mul(alpha, hn::Log(d, x));
  return hn::Exp(d, hn::Max(hn::Neg(limit), hn::Min(limit, e)));
}
template <class F> void MapPowerF32(const float* a, std::int64_t n, float* y, const F& exponent) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(wide));
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const auto largest = hn::Set(wide, static_cast<double>(std::numeric_limits<float>::max()));
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    const auto x = hn::LoadU(d, a + j), p = exponent.load(d, j);
    const auto plain =
        hn::And(hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, infinity)), hn::Lt(hn::Abs(p), infinity));
    const auto power = PositivePower(wide, hn::PromoteTo(wide, x), hn::PromoteTo(wide, p));
    if (hn::AllTrue(d, plain) && hn::AllTrue(wide, hn::Lt(power, largest))) {
      hn::StoreU(hn::DemoteTo(d, power), d, y + j);
    } else {
      for (std::int64_t i = j; i < j + lanes; ++i) y[i] = std::pow(a[i], exponent.at(i));
    }
  }
  for (; j < n; ++j) y[j] = std::pow(a[j], exponent.at(j));
}

template <class T> struct ConstantExponent {
  T alpha;
  template <class D> HWY_INLINE hn::Vec<D> load(D d, std::int64_t) const {
    return hn::Set(d, alpha);
  }
  T at(std::int64_t) const { return alpha; }
};
template <class T> struct ExponentTile {
  const T* b;
  template <class D> HWY_INLINE hn::Vec<D> load(D d, std::int64_t j) const {
    return hn::LoadU(d, b + j);
  }
  T at(std::int64_t j) const { return b[j]; }
};

template <class T, class E> void MapPower(const T* a, std::int64_t n, T* y, const E& exponent) {
  if constexpr (sizeof(T) == 4) {
    MapPowerF32(a, n, y, exponent);
  } else {
    for (std::int64_t j = 0; j < n; ++j) y[j] = std::pow(a[j], exponent.at(j));
  }
}
template <class T> void MapPower1(const T* x, T* y, std::int64_t n, T alpha, T) {
  if (alpha == T(2)) {
    for (std::int64_t j = 0; j < n; ++j) y[j] = x[j] * x[j];
  } else {
    MapPower(x, n, y, ConstantExponent<T>{alpha});
  }
}
template <class T> void MapPower2(const T* a, const T* b, T* y, std::int64_t n) {
  MapPower(a, n, y, ExponentTile<T>{b});
}

template <class T> UnaryTile<T> ChooseUnary(UnaryOp op) {
  switch (op) {
    case UnaryOp::affine: return &Map1<T, Affine>;
    case UnaryOp::abs: return &Map1<T, Abs>;
    case UnaryOp::sign: return &Map1<T, Sign>;
    case UnaryOp::exp: return &Map1<T, Exp>;
    case UnaryOp::log: return &Map1<T, Log>;
    case UnaryOp::log1p: return &Map1<T, Log1p>;
    case UnaryOp::sqrt: return &Map1<T, Sqrt>;
    case UnaryOp::rsqrt: return &Map1<T, Rsqrt>;
    case UnaryOp::reciprocal: return &Map1<T, Reciprocal>;
    case UnaryOp::sin: return &Map1<T, Sin>;
    case UnaryOp::cos: return &Map1<T, Cos>;
    case UnaryOp::tanh: return &Map1<T, Tanh>;
    case UnaryOp::sigmoid: return &Map1<T, Sigmoid>;
    case UnaryOp::erf: return &Map1<T, Erf>;
    case UnaryOp::relu: return &Map1<T, Relu>;
    case UnaryOp::softplus: return &Map1<T, Softplus>;
    case UnaryOp::clamp: return &Map1<T, Clamp>;
    case UnaryOp::power: return &MapPower1<T>;
  }
  return nullptr;
}

template <class T> BinaryTile<T> ChooseBinary(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return &Map2<T, Add>;
    case BinaryOp::sub: return &Map2<T, Sub>;
    case BinaryOp::mul: return &Map2<T, Mul>;
    case BinaryOp::div: return &Map2<T, Div>;
    case BinaryOp::maximum: return &Map2<T, Maximum>;
    case BinaryOp::minimum: return &Map2<T, Minimum>;
    case BinaryOp::power: return &MapPower2<T>;
    case BinaryOp::tanh_backward: return &Map2<T, TanhBackward>;
    case BinaryOp::sigmoid_backward: return &Map2<T, SigmoidBackward>;
  }
  return nullptr;
}

UnaryTile<float> UnaryF32(UnaryOp op) { return ChooseUnary<float>(op); }
UnaryTile<double> UnaryF64(UnaryOp op) { return ChooseUnary<double>(op); }
BinaryTile<float> BinaryF32(BinaryOp op) { return ChooseBinary<float>(op); }
BinaryTile<double> BinaryF64(BinaryOp op) { return ChooseBinary<double>(op); }
AddcmulTile<float> AddcmulF32() { return &MapAddcmul<float>; }
AddcmulTile<double> AddcmulF64() { return &MapAddcmul<double>; }

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {

HWY_EXPORT(UnaryF32);
HWY_EXPORT(UnaryF64);
HWY_EXPORT(BinaryF32);
HWY_EXPORT(BinaryF64);
HWY_EXPORT(AddcmulF32);
HWY_EXPORT(AddcmulF64);

UnaryTile<float> unary_tile(UnaryOp op, float) { return HWY_DYNAMIC_DISPATCH(UnaryF32)(op); }
UnaryTile<double> unary_tile(UnaryOp op, double) { return HWY_DYNAMIC_DISPATCH(UnaryF64)(op); }
BinaryTile<float> binary_tile(BinaryOp op, float) { return HWY_DYNAMIC_DISPATCH(BinaryF32)(op); }
BinaryTile<double> binary_tile(BinaryOp op, double) { return HWY_DYNAMIC_DISPATCH(BinaryF64)(op); }
AddcmulTile<float> addcmul_tile(float) { return HWY_DYNAMIC_DISPATCH(AddcmulF32)(); }
AddcmulTile<double> addcmul_tile(double) { return HWY_DYNAMIC_DISPATCH(AddcmulF64)(); }

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
