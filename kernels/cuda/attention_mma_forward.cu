// Attention forward by mma.sync: instances by dtype, head dims and extras.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_forward.cuh"
#include "kernels/cuda/attention_mma_launch.h"

namespace mettle::kernels::cuda {
namespace {

// Tiles of 64 keys and 32 query rows per warp where registers allow.
template <class T, int Dims, bool Extras>
using ForwardShape =
    std::conditional_t<Dims == 128 && Extras, MmaShape<T, Dims, 1, 8, 64>,
                       MmaShape<T, Dims, 2, 4, Dims <= (Extras ? 32 : 96) ? 64 : 32>>;

}  // namespace

void attention_forward_mma(const Stream& stream, const AttentionForwardArgs& args) {
  cpu::attention::check_call(args, "attention_forward");
  const AttentionProblem& p = args.problem;
  const AttentionForwardOperands<float> x{args.q, args.k, args.v, args.out,
                                          static_cast<float*>(args.lse)};
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Shape = ForwardShape<T, Dims, Extras>;
    launch_mma(attention_mma_forward<Shape, Extras>, Shape{}, stream, p, p.queries,
               Shape::shared_bytes(1, 2, 2), x);
  });
}

}  // namespace mettle::kernels::cuda
