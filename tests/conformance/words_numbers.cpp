// Words that compute on single numbers: conversions, approximate functions, comparisons.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "tests/conformance/conformance.h"

namespace mettle::conformance {
namespace {

constexpr int threads = 128;

METTLE_DEVICE int global_rank() {
  return dev::block_index().x * dev::block_size().x + dev::thread_rank();
}

dev::LaunchShape shape_for(std::size_t count) {
  return {{static_cast<int>((count + threads - 1) / threads), 1, 1}, {threads, 1, 1}, 0};
}

// ---- 16-bit formats, by their definition --------------------------------------------------------
// Bits of the mantissa and of the exponent, sign aside.
struct Format {
  int mantissa;
  int exponent;
};
template <class T> constexpr Format format = {7, 8};
template <> constexpr Format format<f16> = {10, 5};

constexpr std::uint32_t nan_bits = 0x7fc00000u;

std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  // Which of the NaNs is the hardware's choice.
  return std::isnan(value) ? nan_bits : bits;
}

float value_of(Format f, std::uint32_t bits) {
  const int bias = (1 << (f.exponent - 1)) - 1;
  const double sign = (bits >> (f.mantissa + f.exponent) & 1u) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> f.mantissa & ((1u << f.exponent) - 1));
  const auto mantissa = static_cast<double>(bits & ((1u << f.mantissa) - 1));
  const double scale = std::ldexp(1.0, -f.mantissa);
  if (exponent == (1 << f.exponent) - 1)
    return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN()
                         : static_cast<float>(sign * HUGE_VAL);
  if (exponent == 0) return static_cast<float>(sign * std::ldexp(mantissa * scale, 1 - bias));
  return static_cast<float>(sign * std::ldexp(1 + mantissa * scale, exponent - bias));
}

// The nearest, ties to even: nearbyint() of the value in units of the last place.
std::uint32_t rounded(Format f, float value) {
  const std::uint32_t infinity = ((1u << f.exponent) - 1) << f.mantissa;
  if (std::isnan(value)) return infinity | 1u;
  const std::uint32_t sign = std::signbit(value) ? 1u << (f.mantissa + f.exponent) : 0;
  if (std::isinf(value)) return sign | infinity;
  if (value == 0) return sign;
  const int bias = (1 << (f.exponent - 1)) - 1;
  int exponent = 0;
  std::frexp(value, &exponent);  // value is below 2^exponent
  const int unit = std::max(exponent - 1, 1 - bias) - f.mantissa;
  const double units = std::nearbyint(std::ldexp(std::fabs(static_cast<double>(value)), -unit));
  // Units count through the mantissa and carry into the exponent.
  const auto base = static_cast<std::uint32_t>(unit + f.mantissa + bias - 1) << f.mantissa;
  return sign | std::min(base + static_cast<std::uint32_t>(units), infinity);
}

bool is_nan(Format f, std::uint32_t bits) {
  const std::uint32_t infinity = ((1u << f.exponent) - 1) << f.mantissa;
  return (bits & ((1u << (f.mantissa + f.exponent)) - 1)) > infinity;
}

template <class T> METTLE_GLOBAL(128) void widen(float* out) {
  T value;
  value.bits = static_cast<std::uint16_t>(global_rank());
  out[global_rank()] = dev::to_float(value);
}

constexpr std::size_t patterns = 1 << 16;

template <class T> Bits run_widen(Device& device, int) {
  auto* out = device.zeros<float>(patterns);
  dev::launch(widen<T>, shape_for(patterns), device.stream(), out);
  Bits bits = device.fetch(out, patterns);
  for (std::size_t i = 0; i < patterns; ++i)
    if (is_nan(format<T>, static_cast<std::uint32_t>(i)) && (bits[i] & 0x7fffffffu) > 0x7f800000u)
      bits[i] = nan_bits;
  return bits;
}

template <class T> Bits expect_widen(int) {
  Bits out(patterns);
  for (std::size_t i = 0; i < patterns; ++i)
    out[i] = bits_of_float(value_of(format<T>, static_cast<std::uint32_t>(i)));
  return out;
}

// Any bits, and with them ties, overflows and subnormal numbers of either format.
std::vector<float> floats_to_round() {
  std::vector<float> in(4096);
  for (std::size_t i = 0; i < in.size(); ++i) {
    auto bits = static_cast<std::uint32_t>(random_bits(10, i));
    if (i % 4 == 1) bits &= 0xffff8000u;                        // ties of bf16
    if (i % 4 == 2) bits = (bits & 0x87fff000u) + 0x33000000u;  // around f16's least
    if (i % 4 == 3) bits = (bits & 0x80fff000u) + 0x38000000u + (bits & 0x0f000000u);
    std::memcpy(&in[i], &bits, sizeof(bits));
  }
  const float special[] = {0.0f,     -0.0f,       HUGE_VALF,  -HUGE_VALF, std::nanf(""),
                           65504.0f, 65519.996f,  65520.0f,   0x1p-24f,   0x1p-25f,
                           3e38f,    3.39e38f,    3.4e38f,    0x1p-126f,  0x1p-149f,
                           1.0f,     1.00390625f, 1.0009766f, 0x1.8p-25f, 6.1e-5f};
  std::copy(std::begin(special), std::end(special), in.begin());
  return in;
}

template <class T> METTLE_GLOBAL(128) void round_all(const float* in, std::uint32_t* out) {
  const int i = global_rank();
  out[2 * i] = dev::round_to<T>(in[i]).bits;
  out[2 * i + 1] = dev::pack_halves<T>(in[i], in[i ^ 1]);
}

template <class T> Bits run_round(Device& device, int) {
  const std::vector<float> in = floats_to_round();
  auto* out = device.zeros<std::uint32_t>(2 * in.size());
  dev::launch(round_all<T>, shape_for(in.size()), device.stream(), device.send(in), out);
  Bits bits = device.fetch(out, 2 * in.size());
  const std::uint32_t nan = rounded(format<T>, std::nanf(""));
  for (std::uint32_t& word : bits) {
    std::uint32_t low = word & 0xffffu, high = word >> 16;
    if (is_nan(format<T>, low)) low = nan;
    if (is_nan(format<T>, high)) high = nan;
    word = low | high << 16;
  }
  return bits;
}

template <class T> Bits expect_round(int) {
  const std::vector<float> in = floats_to_round();
  Bits out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::uint32_t low = rounded(format<T>, in[i]);
    out.push_back(low);
    out.push_back(low | rounded(format<T>, in[i ^ 1]) << 16);
  }
  return out;
}

// ---- bits and comparisons -----------------------------------------------------------------------
METTLE_GLOBAL(128) void compare_all(const float* in, std::uint32_t* out) {
  const int i = global_rank();
  const float x = in[i], y = in[i ^ 1];
  std::uint32_t* o = out + 8 * i;
  o[0] = dev::bits_of(dev::maximum(x, y));
  o[1] = dev::bits_of(dev::minimum(x, y));
  o[2] = dev::maximum(double{x}, double{y}) == double{x} ? 1 : 0;
  o[3] = dev::minimum(double{x}, double{y}) == double{x} ? 1 : 0;
  const int a = static_cast<int>(dev::bits_of(x)), b = static_cast<int>(dev::bits_of(y));
  o[4] = static_cast<std::uint32_t>(dev::maximum(a, b));
  o[5] = static_cast<std::uint32_t>(dev::minimum(a, b));
  o[6] = static_cast<std::uint32_t>(dev::count_bits(dev::bits_of(x)));
  o[7] = dev::bits_of(dev::float_of(dev::bits_of(dev::to_float(dev::round_to<float>(x))))) +
         dev::bits_of(dev::infinity());
}

// No NaN, no zeros of two signs: what becomes of those is not the same everywhere.
std::vector<float> floats_to_compare() {
  std::vector<float> in = random_floats(11, 1024);
  in[0] = HUGE_VALF;
  in[5] = -HUGE_VALF;
  return in;
}

Bits run_compare(Device& device, int) {
  const std::vector<float> in = floats_to_compare();
  auto* out = device.zeros<std::uint32_t>(8 * in.size());
  dev::launch(compare_all, shape_for(in.size()), device.stream(), device.send(in), out);
  return device.fetch(out, 8 * in.size());
}

Bits expect_compare(int) {
  const std::vector<float> in = floats_to_compare();
  Bits out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const float x = in[i], y = in[i ^ 1];
    const std::uint32_t own = bits_of_float(x), other = bits_of_float(y);
    const auto a = static_cast<std::int32_t>(own), b = static_cast<std::int32_t>(other);
    std::uint32_t ones = 0;
    for (std::uint32_t bits = own; bits != 0; bits >>= 1) ones += bits & 1u;
    out.insert(out.end(),
               {x < y ? other : own, y < x ? other : own, x < y ? 0u : 1u, y < x ? 0u : 1u,
                a < b ? other : own, b < a ? other : own, ones, own + 0x7f800000u});
  }
  return out;
}

// ---- approximate functions ----------------------------------------------------------------------
enum Function { exp2, exp, log, divide, rsqrt, functions };

METTLE_GLOBAL(128) void approximate(const float* in, float* out, int function) {
  const float x = in[global_rank()];
  float y = 0;
  if (function == exp2) y = dev::fast_exp2(10 * x);
  if (function == exp) y = dev::fast_exp(8 * x);
  if (function == log) y = dev::fast_log(x + 1.25f);
  if (function == divide) y = dev::fast_divide(x, x + 2.0f);
  if (function == rsqrt) y = dev::reciprocal_sqrt(x + 1.25f);
  out[global_rank()] = y;
}

METTLE_GLOBAL(128) void approximate_f64(const float* in, double* out) {
  out[global_rank()] = dev::reciprocal_sqrt(double{in[global_rank()]} + 1.25);
}

constexpr std::size_t arguments = 128;

Bits run_function(Device& device, int function) {
  auto* out = device.zeros<float>(arguments);
  dev::launch(approximate, shape_for(arguments), device.stream(),
              device.send(random_floats(12, arguments)), out, function);
  return device.fetch(out, arguments);
}

Bits expect_function(int function) {
  std::vector<float> out;
  for (const float x : random_floats(12, arguments)) {
    // Arguments round to f32, as in the kernel.
    const float shifted = x + 1.25f;
    double y = 0;
    switch (function) {
      case exp2: y = std::exp2(double{10 * x}); break;
      case exp: y = std::exp(double{8 * x}); break;
      case log: y = std::log(double{shifted}); break;
      case divide: y = double{x} / double{x + 2.0f}; break;
      default: y = 1 / std::sqrt(double{shifted});
    }
    out.push_back(static_cast<float>(y));
  }
  return bits_of_values(out);
}

Bits run_rsqrt_f64(Device& device, int) {
  auto* out = device.zeros<double>(arguments);
  dev::launch(approximate_f64, shape_for(arguments), device.stream(),
              device.send(random_floats(12, arguments)), out);
  return device.fetch(out, arguments);
}

Bits expect_rsqrt_f64(int) {
  std::vector<double> out;
  for (const float x : random_floats(12, arguments)) out.push_back(1 / std::sqrt(double{x} + 1.25));
  return bits_of_values(out);
}

}  // namespace

void add_number_words(std::vector<Word>& words) {
  words.push_back({"to_float_bf16", Kind::bits, 0, run_widen<bf16>, expect_widen<bf16>});
  words.push_back({"to_float_f16", Kind::bits, 0, run_widen<f16>, expect_widen<f16>});
  words.push_back({"round_to_bf16", Kind::bits, 0, run_round<bf16>, expect_round<bf16>});
  words.push_back({"round_to_f16", Kind::bits, 0, run_round<f16>, expect_round<f16>});
  words.push_back({"bits_and_comparisons", Kind::bits, 0, run_compare, expect_compare});
  // CUDA programming guide, "Intrinsic functions" and "Standard functions": ex2.approx has 2 ulp;
  // __expf(x) 2 + |1.173 x|, up to 12 here; __logf an absolute error of 2^-21.41 around 1,
  // elsewhere 3 ulp; __fdividef and rsqrtf() 2, rsqrt() 1. An ulp is at most 2^-23 of the value.
  const char* names[functions] = {"fast_exp2", "fast_exp", "fast_log", "fast_divide",
                                  "reciprocal_sqrt"};
  const double tolerances[functions] = {0x1p-21, 0x1p-19, 0x1p-21, 0x1p-21, 0x1p-21};
  for (int i = 0; i < functions; ++i)
    words.push_back({names[i], Kind::f32, tolerances[i], run_function, expect_function, i});
  words.push_back({"reciprocal_sqrt_f64", Kind::f64, 0x1p-51, run_rsqrt_f64, expect_rsqrt_f64});
}

}  // namespace mettle::conformance
