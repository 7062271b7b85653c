// Sums over axes on a CUDA device, and the list of reductions.
#include "kernels/cuda/reduce_launch.h"
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {
namespace {

void run_reduce(const Stream& stream, const ReduceArgs& args) {
  if (args.op == ReduceOp::sum) return reduce_with<SumOf>(stream, args);
  reduce_extrema(stream, args);
}

}  // namespace

void register_reduce() { reduce.add({"two stages", DeviceType::cuda, 0, nullptr, run_reduce}); }

}  // namespace mettle::kernels::cuda
