// Attention double backward by mma.sync: operands and scratch. The instances are in
// attention_mma_double_bf16.cu and attention_mma_double_f16.cu.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_double_launch.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

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
  p.dtype == DType::bf16 ? launch_double_backward<bf16>(stream, p, x)
                         : launch_double_backward<f16>(stream, p, x);
}

}  // namespace mettle::kernels::cuda
