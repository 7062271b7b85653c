// Enters the CUDA variants of the attention kernels into their slots.
#include "kernels/cuda/attention_call.h"

namespace mettle::kernels::cuda {
namespace {

constexpr int simt_dims = 256;

template <class Args> bool simt_takes(const Args& args) {
  const AttentionProblem& p = args.problem;
  return p.head_dim <= simt_dims && p.value_dim <= simt_dims && attention_counts_fit(p);
}

}  // namespace

void register_attention() {
  constexpr auto cuda = DeviceType::cuda;
  constexpr const char* simt = "head dims up to 256, fewer than 2^31 rows and tiles";
  attention_forward.add({"simt", cuda, 10, simt_takes, attention_forward_simt, simt});
  attention_backward.add({"simt", cuda, 10, simt_takes, attention_backward_simt, simt});
  attention_double_backward.add(
      {"simt", cuda, 10, simt_takes, attention_double_backward_simt, simt});
}

}  // namespace mettle::kernels::cuda
