// Attention double backward by mma.sync, in three kernels, and the first of them alone: scratch.
// The instances are in attention_mma_double_bf16.cu and attention_mma_double_f16.cu.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_double_launch.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {

void attention_jvp_mma(const Stream& stream, const AttentionJvpArgs& args) {
  cpu::attention::check_call(args, "attention_jvp");
  if (!args.tangent_out.data) return;
  const AttentionProblem& p = args.problem;
  const AttentionDoubleBackwardArgs twice = tangent_of_double_backward(args);
  const MmaDoubleOperands x = double_operands(twice, nullptr);
  p.dtype == DType::bf16 ? launch_tangent<bf16>(stream, p, x) : launch_tangent<f16>(stream, p, x);
}

void attention_double_backward_mma(const Stream& stream, const AttentionDoubleBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  const auto rows = static_cast<std::size_t>(p.batch * p.heads * p.queries);
  Scratch scratch(stream, Scratch::sum(rows * sizeof(MmaTangentStatistics)));
  const MmaDoubleOperands x = double_operands(args, scratch.take<MmaTangentStatistics>(rows));
  p.dtype == DType::bf16 ? launch_double_backward<bf16>(stream, p, x)
                         : launch_double_backward<f16>(stream, p, x);
}

}  // namespace mettle::kernels::cuda
