// Random values in f64, rounded once to the element type.
#include "kernels/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/parallel.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {
namespace {

constexpr std::int64_t chunk = 8192;  // even, so that a pair never crosses chunks

/// Two uniform numbers in [0, 1) with 53 bits from one block.
std::pair<double, double> uniform_pair(const PhiloxKey& key, std::int64_t pair) {
  const PhiloxBlock b = key.block(static_cast<std::uint64_t>(pair));
  const auto join = [](std::uint32_t high, std::uint32_t low) {
    return static_cast<double>(((static_cast<std::uint64_t>(high) << 32) | low) >> 11) * 0x1p-53;
  };
  return {join(b.word[0], b.word[1]), join(b.word[2], b.word[3])};
}

std::pair<double, double> normal_pair(double u, double v) {
  const double radius = std::sqrt(-2.0 * std::log1p(-u));  // u < 1, so the logarithm is finite
  const double angle = 2.0 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

template <class T> T round_below(double value, double low, double high) {
  const T rounded = static_cast<T>(value);
  // Rounding to a narrow type may reach the open end; the closed end is the nearest value inside.
  return static_cast<double>(rounded) < high || low == high ? rounded : static_cast<T>(low);
}

template <class T> void fill(const RandomArgs& args) {
  T* y = static_cast<T*>(args.y);
  parallel_for(args.n, chunk, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += 2) {
      auto [p, q] = uniform_pair(args.key, i / 2);
      T first, second;
      if (args.distribution == Distribution::uniform) {
        first = round_below<T>(args.a + (args.b - args.a) * p, args.a, args.b);
        second = round_below<T>(args.a + (args.b - args.a) * q, args.a, args.b);
      } else {
        const auto [s, t] = normal_pair(p, q);
        first = static_cast<T>(args.a + args.b * s);
        second = static_cast<T>(args.a + args.b * t);
      }
      y[i] = first;
      if (i + 1 < end) y[i + 1] = second;
    }
  });
}

void run_random(const Stream&, const RandomArgs& args) {
  dispatch_float(
      args.dtype, [&]<class T>() { fill<T>(args); }, "random");
}

}  // namespace

void register_random() { random_fill.add({"philox", DeviceType::cpu, 0, nullptr, run_random}); }

}  // namespace mettle::kernels::cpu
