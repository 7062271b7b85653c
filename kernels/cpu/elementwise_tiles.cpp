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
    return hn::IfThenElse(hn::Ne(x, x), x, sign);
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
    return hn::IfThenElse(hn::Ne(x, x), x, y);
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
    return hn::IfThenElse(hn::Ne(x, x), x, hn::Min(hn::Max(x, low), high));
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
    return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::Ne(a, a)), a, b);
  }
};
struct Minimum {
  template <class D, class V> HWY_INLINE V operator()(D, V a, V b) const {
    return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::Ne(a, a)), a, b);
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

// Functions whose accuracy near special values matters more than their speed here.
template <class T, T (*F)(T)> void MapScalar(const T* x, T* y, std::int64_t n, T, T) {
  for (std::int64_t j = 0; j < n; ++j) y[j] = F(x[j]);
}
template <class T> T Log(T x) { return std::log(x); }
template <class T> T Log1p(T x) { return std::log1p(x); }
template <class T> T Sin(T x) { return std::sin(x); }
template <class T> T Cos(T x) { return std::cos(x); }
template <class T> T Tanh(T x) { return std::tanh(x); }
// Neither branch of log(1 + exp(x)) overflows or cancels.
template <class T> T Softplus(T x) {
  return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
}
template <class T> T Erf(T x) { return std::erf(x); }
template <class T> void MapPower1(const T* x, T* y, std::int64_t n, T alpha, T) {
  if (alpha == T(2)) {
    for (std::int64_t j = 0; j < n; ++j) y[j] = x[j] * x[j];
  } else {
    for (std::int64_t j = 0; j < n; ++j) y[j] = std::pow(x[j], alpha);
  }
}
template <class T> void MapPower2(const T* a, const T* b, T* y, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) y[j] = std::pow(a[j], b[j]);
}

template <class T> UnaryTile<T> ChooseUnary(UnaryOp op) {
  switch (op) {
    case UnaryOp::affine: return &Map1<T, Affine>;
    case UnaryOp::abs: return &Map1<T, Abs>;
    case UnaryOp::sign: return &Map1<T, Sign>;
    case UnaryOp::exp: return &Map1<T, Exp>;
    case UnaryOp::log: return &MapScalar<T, Log<T>>;
    case UnaryOp::log1p: return &MapScalar<T, Log1p<T>>;
    case UnaryOp::sqrt: return &Map1<T, Sqrt>;
    case UnaryOp::rsqrt: return &Map1<T, Rsqrt>;
    case UnaryOp::reciprocal: return &Map1<T, Reciprocal>;
    case UnaryOp::sin: return &MapScalar<T, Sin<T>>;
    case UnaryOp::cos: return &MapScalar<T, Cos<T>>;
    case UnaryOp::tanh: return &MapScalar<T, Tanh<T>>;
    case UnaryOp::sigmoid: return &Map1<T, Sigmoid>;
    case UnaryOp::erf: return &MapScalar<T, Erf<T>>;
    case UnaryOp::relu: return &Map1<T, Relu>;
    case UnaryOp::softplus: return &MapScalar<T, Softplus<T>>;
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
  }
  return nullptr;
}

UnaryTile<float> UnaryF32(UnaryOp op) { return ChooseUnary<float>(op); }
UnaryTile<double> UnaryF64(UnaryOp op) { return ChooseUnary<double>(op); }
BinaryTile<float> BinaryF32(BinaryOp op) { return ChooseBinary<float>(op); }
BinaryTile<double> BinaryF64(BinaryOp op) { return ChooseBinary<double>(op); }

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {

HWY_EXPORT(UnaryF32);
HWY_EXPORT(UnaryF64);
HWY_EXPORT(BinaryF32);
HWY_EXPORT(BinaryF64);

UnaryTile<float> unary_tile(UnaryOp op, float) { return HWY_DYNAMIC_DISPATCH(UnaryF32)(op); }
UnaryTile<double> unary_tile(UnaryOp op, double) { return HWY_DYNAMIC_DISPATCH(UnaryF64)(op); }
BinaryTile<float> binary_tile(BinaryOp op, float) { return HWY_DYNAMIC_DISPATCH(BinaryF32)(op); }
BinaryTile<double> binary_tile(BinaryOp op, double) { return HWY_DYNAMIC_DISPATCH(BinaryF64)(op); }

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
