// Random values in f64, rounded once to the element type.
#include "kernels/random.h"

#include "engine/parallel.h"
#include "kernels/cpu/register.h"
#include "kernels/random_numbers.h"

namespace mettle::kernels::cpu {
namespace {

constexpr std::int64_t chunk = 8192;  // even, so that a pair never crosses chunks

template <class T> T round_below(double value, double low, double high) {
  const T rounded = static_cast<T>(value);
  // Rounding to a narrow type may reach the open end; the closed end is the nearest value inside.
  return static_cast<double>(rounded) < high || low == high ? rounded : static_cast<T>(low);
}

template <class T> void fill(const RandomArgs& args) {
  T* y = static_cast<T*>(args.y);
  const PhiloxKey key = args.key.value();
  parallel_for(args.n, chunk, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += 2) {
      const RandomPair u = uniform_pair(key, static_cast<std::uint64_t>(i / 2));
      T first, second;
      if (args.distribution == Distribution::uniform) {
        const RandomPair x = scaled(u, args.a, args.b - args.a);
        first = round_below<T>(x.first, args.a, args.b);
        second = round_below<T>(x.second, args.a, args.b);
      } else {
        const RandomPair x = scaled(normal_pair(u), args.a, args.b);
        first = static_cast<T>(x.first);
        second = static_cast<T>(x.second);
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

void run_fork(const Stream&, const ForkKeyArgs& args) {
  const PhiloxKey forked = args.key.fork(args.part);
  args.forked[0] = forked.seed;
  args.forked[1] = forked.offset;
}

}  // namespace

void register_random() {
  random_fill.add({"philox", DeviceType::cpu, 0, nullptr, run_random});
  fork_key.add({"philox", DeviceType::cpu, 0, nullptr, run_fork});
}

}  // namespace mettle::kernels::cpu
