// The elementwise functions of one number, for host and device: the CUDA kernels map them, tests
// take them as they are. f32 and f64; 16-bit numbers are computed in f32. The CPU's kernels have
// vector versions of their own (kernels/cpu/elementwise_tiles.cpp) with the same rules at NaN, zero
// and infinity.
#pragma once

#include <math.h>

#include <cstdint>
#include <type_traits>

#include "engine/host_device.h"
#include "kernels/elementwise.h"

namespace mettle::kernels::scalar {

// The C library's functions by one name for both types; CUDA has the same.
METTLE_HD inline float exp(float x) { return ::expf(x); }
METTLE_HD inline double exp(double x) { return ::exp(x); }
METTLE_HD inline float log(float x) { return ::logf(x); }
METTLE_HD inline double log(double x) { return ::log(x); }
METTLE_HD inline float log1p(float x) { return ::log1pf(x); }
METTLE_HD inline double log1p(double x) { return ::log1p(x); }
METTLE_HD inline float sqrt(float x) { return ::sqrtf(x); }
METTLE_HD inline double sqrt(double x) { return ::sqrt(x); }
METTLE_HD inline float sin(float x) { return ::sinf(x); }
METTLE_HD inline double sin(double x) { return ::sin(x); }
METTLE_HD inline float cos(float x) { return ::cosf(x); }
METTLE_HD inline double cos(double x) { return ::cos(x); }
METTLE_HD inline float tanh(float x) { return ::tanhf(x); }
METTLE_HD inline double tanh(double x) { return ::tanh(x); }
METTLE_HD inline float erf(float x) { return ::erff(x); }
METTLE_HD inline double erf(double x) { return ::erf(x); }
METTLE_HD inline float abs(float x) { return ::fabsf(x); }
METTLE_HD inline double abs(double x) { return ::fabs(x); }
/// a b + c, rounded once.
METTLE_HD inline float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
METTLE_HD inline double fma(double a, double b, double c) { return ::fma(a, b, c); }

METTLE_HD inline double power(double x, double alpha) { return ::pow(x, alpha); }
/// Through f64 logarithms, which leaves one rounding; powf() is off by several units.
METTLE_HD inline float power(float x, float alpha) {
  const float size = abs(x);
  if (!(size > 0 && size < INFINITY && abs(alpha) < INFINITY)) return ::powf(x, alpha);
  const auto y = static_cast<float>(::exp(static_cast<double>(alpha) * ::log(double{size})));
  if (x > 0) return y;
  if (::truncf(alpha) != alpha) return NAN;
  const float half = alpha * 0.5f;
  return ::truncf(half) == half ? y : -y;
}

/// NaN alone differs from itself. Not std::isnan, which device code does not have.
template <class C> METTLE_HD bool is_nan(C x) {
  return x != x;  // NOLINT(misc-redundant-expression)
}

// ---- functions of one argument ------------------------------------------------------------------
template <class C> struct Affine {
  C alpha, beta;
  METTLE_HD C operator()(C x) const { return fma(x, alpha, beta); }
};
struct Abs {
  template <class C> METTLE_HD C operator()(C x) const { return abs(x); }
};
struct Sign {
  template <class C> METTLE_HD C operator()(C x) const {
    return is_nan(x) ? x : static_cast<C>((x > C{0}) - (x < C{0}));
  }
};
struct Exp {
  template <class C> METTLE_HD C operator()(C x) const { return exp(x); }
};
struct Log {
  template <class C> METTLE_HD C operator()(C x) const { return log(x); }
};
struct Log1p {
  template <class C> METTLE_HD C operator()(C x) const { return log1p(x); }
};
struct Sqrt {
  template <class C> METTLE_HD C operator()(C x) const { return sqrt(x); }
};
struct Rsqrt {
  template <class C> METTLE_HD C operator()(C x) const { return C{1} / sqrt(x); }
};
struct Reciprocal {
  template <class C> METTLE_HD C operator()(C x) const { return C{1} / x; }
};
struct Sin {
  template <class C> METTLE_HD C operator()(C x) const { return sin(x); }
};
struct Cos {
  template <class C> METTLE_HD C operator()(C x) const { return cos(x); }
};
struct Tanh {
  template <class C> METTLE_HD C operator()(C x) const { return tanh(x); }
};
struct Erf {
  template <class C> METTLE_HD C operator()(C x) const { return erf(x); }
};
/// With e = exp(-|x|) <= 1 neither branch overflows: 1 / (1 + e) for x >= 0, e / (1 + e) below.
struct Sigmoid {
  template <class C> METTLE_HD C operator()(C x) const {
    const C e = exp(-abs(x));
    return (x < C{0} ? e : C{1}) / (C{1} + e);
  }
};
struct Relu {
  template <class C> METTLE_HD C operator()(C x) const { return x < C{0} ? C{0} : x; }
};
/// max(x, 0) + log(1 + exp(-|x|)): neither term overflows or cancels.
struct Softplus {
  template <class C> METTLE_HD C operator()(C x) const {
    return (x < C{0} ? C{0} : x) + log1p(exp(-abs(x)));
  }
};
template <class C> struct Clamp {
  C low, high;
  METTLE_HD C operator()(C x) const {
    if (is_nan(x)) return x;
    const C above = x < low ? low : x;
    return above > high ? high : above;
  }
};
template <class C> struct PowerOf {
  C alpha;
  METTLE_HD C operator()(C x) const { return alpha == C{2} ? x * x : power(x, alpha); }
};

/// Calls f with the function object of `op` for numbers of type C.
template <class C, class F> void with_unary(UnaryOp op, double alpha, double beta, F&& f) {
  const C a = static_cast<C>(alpha), b = static_cast<C>(beta);
  switch (op) {
    case UnaryOp::affine: return f(Affine<C>{a, b});
    case UnaryOp::abs: return f(Abs{});
    case UnaryOp::sign: return f(Sign{});
    case UnaryOp::exp: return f(Exp{});
    case UnaryOp::log: return f(Log{});
    case UnaryOp::log1p: return f(Log1p{});
    case UnaryOp::sqrt: return f(Sqrt{});
    case UnaryOp::rsqrt: return f(Rsqrt{});
    case UnaryOp::reciprocal: return f(Reciprocal{});
    case UnaryOp::sin: return f(Sin{});
    case UnaryOp::cos: return f(Cos{});
    case UnaryOp::tanh: return f(Tanh{});
    case UnaryOp::sigmoid: return f(Sigmoid{});
    case UnaryOp::erf: return f(Erf{});
    case UnaryOp::relu: return f(Relu{});
    case UnaryOp::softplus: return f(Softplus{});
    case UnaryOp::clamp: return f(Clamp<C>{a, b});
    case UnaryOp::power: return f(PowerOf<C>{a});
  }
}

// ---- functions of two and three -----------------------------------------------------------------
struct Add {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a + b; }
};
struct Sub {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a - b; }
};
struct Mul {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a * b; }
};
struct Div {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a / b; }
};
/// NaN when either is.
struct Maximum {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a > b || is_nan(a) ? a : b; }
};
struct Minimum {
  template <class C> METTLE_HD C operator()(C a, C b) const { return a < b || is_nan(a) ? a : b; }
};
struct Power {
  template <class C> METTLE_HD C operator()(C a, C b) const { return power(a, b); }
};
struct TanhBackward {
  template <class C> METTLE_HD C operator()(C dy, C y) const { return dy * fma(-y, y, C{1}); }
};
struct SigmoidBackward {
  template <class C> METTLE_HD C operator()(C dy, C y) const { return dy * fma(-y, y, y); }
};

template <class F> void with_binary(BinaryOp op, F&& f) {
  switch (op) {
    case BinaryOp::add: return f(Add{});
    case BinaryOp::sub: return f(Sub{});
    case BinaryOp::mul: return f(Mul{});
    case BinaryOp::div: return f(Div{});
    case BinaryOp::maximum: return f(Maximum{});
    case BinaryOp::minimum: return f(Minimum{});
    case BinaryOp::power: return f(Power{});
    case BinaryOp::tanh_backward: return f(TanhBackward{});
    case BinaryOp::sigmoid_backward: return f(SigmoidBackward{});
  }
}

template <class C> struct Addcmul {
  C scale;
  METTLE_HD C operator()(C x, C a, C b) const { return fma(scale * a, b, x); }
};

/// For any type of number; the operation is chosen at run time, because each is one instruction.
struct Compare {
  CompareOp op;
  template <class C> METTLE_HD bool operator()(C a, C b) const {
    switch (op) {
      case CompareOp::eq: return a == b;
      case CompareOp::ne: return a != b;
      case CompareOp::lt: return a < b;
      case CompareOp::le: return a <= b;
      case CompareOp::gt: return a > b;
      default: return a >= b;
    }
  }
};

// ---- integers: wrap around as in the hardware ---------------------------------------------------
/// affine, abs and sign.
template <class T> struct IntegerUnary {
  UnaryOp op;
  T alpha, beta;
  METTLE_HD T operator()(T x) const {
    using U = std::make_unsigned_t<T>;
    const auto u = static_cast<U>(x);
    if (op == UnaryOp::affine)
      return static_cast<T>(u * static_cast<U>(alpha) + static_cast<U>(beta));
    if (op == UnaryOp::abs) return x < 0 ? static_cast<T>(U{0} - u) : x;
    return static_cast<T>((x > 0) - (x < 0));
  }
};
/// add, sub, mul, maximum and minimum.
template <class T> struct IntegerBinary {
  BinaryOp op;
  METTLE_HD T operator()(T a, T b) const {
    using U = std::make_unsigned_t<T>;
    const auto p = static_cast<U>(a), q = static_cast<U>(b);
    switch (op) {
      case BinaryOp::add: return static_cast<T>(p + q);
      case BinaryOp::sub: return static_cast<T>(p - q);
      case BinaryOp::mul: return static_cast<T>(p * q);
      case BinaryOp::maximum: return a < b ? b : a;
      default: return b < a ? b : a;
    }
  }
};
/// Truncated towards zero; b != 0.
template <class T> METTLE_HD T integer_quotient(T a, T b) {
  using U = std::make_unsigned_t<T>;
  return b == T{-1} ? static_cast<T>(U{0} - static_cast<U>(a)) : static_cast<T>(a / b);
}

}  // namespace mettle::kernels::scalar
