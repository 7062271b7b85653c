// Extrema over axes on a CUDA device.
#include "kernels/cuda/reduce_launch.h"

namespace mettle::kernels::cuda {

void reduce_extrema(const Stream& stream, const ReduceArgs& args) {
  if (args.op == ReduceOp::max) return reduce_with<MaxOf>(stream, args);
  reduce_with<MinOf>(stream, args);
}

}  // namespace mettle::kernels::cuda
