// Random values on CUDA: launches.
#include "kernels/random.h"

#include <algorithm>

#include "kernels/cuda/random.cuh"
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {
namespace {

template <class T> void run_typed(const Stream& stream, const RandomArgs& args) {
  if (args.n == 0) return;
  const std::int64_t pairs = (args.n + 1) / 2;
  const int blocks = static_cast<int>(std::min<std::int64_t>((pairs + 255) / 256, 1 << 16));
  const bool aligned = reinterpret_cast<std::uintptr_t>(args.y) % (2 * sizeof(T)) == 0;
  dev::launch(random_values<T>, {{blocks}, {256}}, stream, static_cast<T*>(args.y), args.n,
              args.key, args.a, args.b, args.distribution == Distribution::normal, aligned);
}

void run_random(const Stream& stream, const RandomArgs& args) {
  dispatch_float(
      args.dtype, [&]<class T>() { run_typed<T>(stream, args); }, "random");
}

void run_fork(const Stream& stream, const ForkKeyArgs& args) {
  dev::launch(forked_key, {{1}, {1}}, stream, args.key, args.part, args.forked);
}

}  // namespace

void register_random() {
  random_fill.add({"philox", DeviceType::cuda, 0, nullptr, run_random});
  fork_key.add({"philox", DeviceType::cuda, 0, nullptr, run_fork});
}

}  // namespace mettle::kernels::cuda
