// Attention double backward by mma.sync, one block per head: instances by dtype, size, head dims
// and extras.
#include "kernels/cuda/attention_mma_double_head.cuh"

#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_double_launch.h"
#include "kernels/cuda/device_limits.h"

namespace mettle::kernels::cuda {
namespace {

// Calls f.template operator()<Shape, Extras>(). 32 rows per warp, but where dropout and masks need
// the registers.
template <class F> void with_head_shape(const AttentionProblem& p, F&& f) {
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    if constexpr (Dims <= mma_head_dims) {
      constexpr int tiles = Extras ? 1 : 2;
      if (p.queries <= 64 && p.keys <= 64)
        f.template operator()<MmaHeadShape<T, Dims, 64, tiles>, Extras>();
      else
        f.template operator()<MmaHeadShape<T, Dims, 128, tiles>, Extras>();
    }
  });
}

}  // namespace

bool attention_head_fits(const Stream& stream, const AttentionDoubleBackwardArgs& args) {
  std::size_t needed = 0;
  with_head_shape(args.problem,
                  [&]<class Shape, bool Extras>() { needed = Shape::shared_bytes(); });
  return needed <= device_limits(stream).shared_bytes;
}

void attention_double_backward_mma_head(const Stream& stream,
                                        const AttentionDoubleBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  const int heads = static_cast<int>(p.batch * p.heads);
  if (heads == 0) return;
  const MmaDoubleOperands x = double_operands(args, nullptr);
  with_head_shape(p, [&]<class Shape, bool Extras>() {
    dev::launch(attention_mma_double_head<Shape, Extras>,
                {{heads, 1, 1}, {Shape::threads, 1, 1}, Shape::shared_bytes()}, stream,
                attention_call<float>(p), x);
  });
}

}  // namespace mettle::kernels::cuda
