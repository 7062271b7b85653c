// Attention double backward by mma.sync: instances by dtype, head dims and extras.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_double_backward.cuh"
#include "kernels/cuda/attention_mma_launch.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

// 16 rows per warp: of the products that make a tile some share their right operand, which is worth
// as much as 32 rows.
template <class T, int Dims>
using DoubleShape = MmaShape<T, Dims, 1, Dims <= 64 ? 4 : 8, Dims == 128 ? 16 : 32>;

AttentionIn present(const AttentionIn& x, const AttentionIn& other) {
  return x.data ? x : AttentionIn{other.data, 0, 0, 0};
}

}  // namespace

void attention_double_backward_mma(const Stream& stream, const AttentionDoubleBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  const auto rows = static_cast<std::size_t>(p.batch * p.heads * p.queries);
  Scratch scratch(stream, Scratch::sum(rows * sizeof(MmaTangentStatistics)));
  const MmaDoubleOperands x{args.q,
                            args.k,
                            args.v,
                            args.out,
                            args.dout,
                            present(args.ddq, args.q),
                            present(args.ddk, args.k),
                            present(args.ddv, args.v),
                            args.ddq.data != nullptr,
                            args.ddk.data != nullptr,
                            args.ddv.data != nullptr,
                            static_cast<const float*>(args.lse),
                            args.dq2,
                            args.dk2,
                            args.dv2,
                            args.ddout,
                            scratch.take<MmaTangentStatistics>(rows)};
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Double = DoubleShape<T, Dims>;
    launch_mma(attention_mma_tangent<Double, Extras>, Double{}, stream, p, p.queries,
               Double::shared_bytes(3, 4, 2), x);
    if (args.dq2.data)
      launch_mma(attention_mma_double_queries<Double, Extras>, Double{}, stream, p, p.queries,
                 Double::shared_bytes(3, 4, 2), x);
    if (args.dk2.data || args.dv2.data)
      launch_mma(attention_mma_double_keys<Double, Extras>, Double{}, stream, p, p.keys,
                 Double::shared_bytes(4, 3, 2, 2 * Double::block * sizeof(MmaTangentStatistics)),
                 x);
  });
}

}  // namespace mettle::kernels::cuda
