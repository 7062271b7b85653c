// Attention forward by mma.sync: instances by dtype, head dims and extras.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_forward.cuh"
#include "kernels/cuda/attention_mma_launch.h"

namespace mettle::kernels::cuda {
namespace {

// Tiles of 64 keys where registers allow.
template <class T, int Dims, bool Extras>
using ForwardShape = MmaShape<T, Dims, 2, 4, Dims <= (Extras ? 32 : 96) ? 64 : 32>;

}  // namespace

void attention_forward_mma(const Stream& stream, const AttentionForwardArgs& args) {
  cpu::attention::check_call(args, "attention_forward");
  const AttentionProblem& p = args.problem;
  const AttentionForwardOperands<float> x{args.q, args.k, args.v, args.out,
                                          static_cast<float*>(args.lse)};
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Shape = ForwardShape<T, Dims, Extras>;
    launch_mma(attention_mma_forward<Shape, Extras>, Shape{}, stream, p, p.queries,
               Shape::shared_bytes(1, 4), x);
  });
}

}  // namespace mettle::kernels::cuda
