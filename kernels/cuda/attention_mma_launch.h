// Host side of the attention kernels that use mma.sync: which instance takes a problem, and its
// launch.
#pragma once

#include "kernels/cuda/attention_call.h"

namespace mettle::kernels::cuda {

/// Calls f.template operator()<Dims, Extras>().
template <class T, class F> void with_mma_dims(const AttentionProblem& p, F&& f) {
  const std::int64_t dims = p.head_dim < p.value_dim ? p.value_dim : p.head_dim;
  const auto with = [&]<bool Extras>() {
    if (dims <= 32) return f.template operator()<32, Extras>();
    if (dims <= 64) return f.template operator()<64, Extras>();
    if (dims <= 96) return f.template operator()<96, Extras>();
    return f.template operator()<128, Extras>();
  };
  p.mask.data || p.dropout > 0 ? with.template operator()<true>()
                               : with.template operator()<false>();
}

/// Calls f.template operator()<T, Dims, Extras>().
template <class F> void with_mma_type(const AttentionProblem& p, F&& f) {
  const auto with = [&]<class T>() {
    with_mma_dims<T>(p, [&]<int Dims, bool Extras>() { f.template operator()<T, Dims, Extras>(); });
  };
  p.dtype == DType::bf16 ? with.template operator()<bf16>() : with.template operator()<f16>();
}

/// One block per tile of Shape::rows out of n rows of every head; nothing when there is none.
template <class Shape, class Operands>
void launch_mma(void (*kernel)(AttentionCall<float>, Operands, int), Shape, const Stream& stream,
                const AttentionProblem& p, std::int64_t n, std::size_t shared_bytes,
                const Operands& x) {
  const std::int64_t tiles = attention_tiles(n, Shape::rows);
  const std::int64_t blocks = tiles * p.batch * p.heads;
  if (blocks == 0) return;
  dev::launch(kernel, {{static_cast<int>(blocks), 1, 1}, {Shape::threads, 1, 1}, shared_bytes},
              stream, attention_call<float>(p), x, static_cast<int>(tiles));
}

}  // namespace mettle::kernels::cuda
