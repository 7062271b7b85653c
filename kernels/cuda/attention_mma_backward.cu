// Attention backward by mma.sync: instances by dtype, head dims and extras.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_backward.cuh"
#include "kernels/cuda/attention_mma_launch.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

// 32 rows per warp where registers allow.
template <class T, int Dims>
using BackwardQueries =
    std::conditional_t<Dims <= 64, MmaShape<T, Dims, 2, 4, 32>, MmaShape<T, Dims, 1, 8, 32>>;
template <class T, int Dims, bool Extras>
using BackwardKeys = std::conditional_t<Dims <= (Extras ? 32 : 64), MmaShape<T, Dims, 2, 4, 32>,
                                        MmaShape<T, Dims, 1, 8, 32>>;

}  // namespace

void attention_backward_mma(const Stream& stream, const AttentionBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_backward");
  const AttentionProblem& p = args.problem;
  const auto rows = static_cast<std::size_t>(p.batch * p.heads * p.queries);
  Scratch scratch(stream, Scratch::sum(rows * sizeof(MmaRowStatistics)));
  const MmaBackwardOperands x{args.q,    args.k,
                              args.v,    args.out,
                              args.dout, static_cast<const float*>(args.lse),
                              args.dq,   args.dk,
                              args.dv,   scratch.take<MmaRowStatistics>(rows)};
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Queries = BackwardQueries<T, Dims>;
    using Keys = BackwardKeys<T, Dims, Extras>;
    launch_mma(attention_mma_backward_queries<Queries, Extras>, Queries{}, stream, p, p.queries,
               Queries::shared_bytes(2, 2, 2), x);
    if (args.dk.data || args.dv.data)
      launch_mma(attention_mma_backward_keys<Keys, Extras>, Keys{}, stream, p, p.keys,
                 Keys::shared_bytes(2, 2, 2, 2 * Keys::block * sizeof(MmaRowStatistics)), x);
  });
}

}  // namespace mettle::kernels::cuda
