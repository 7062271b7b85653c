// Host side of the double backward by mma.sync: its launches, instantiated by one file per dtype
// because they are many.
#pragma once

#include "kernels/cuda/attention_mma_double_backward.cuh"
#include "kernels/cuda/attention_mma_launch.h"

namespace mettle::kernels::cuda {

// 16 rows per warp: of the products that make a tile some share their right operand, which is worth
// as much as 32 rows.
template <class T, int Dims>
using DoubleShape = MmaShape<T, Dims, 1, Dims <= 64 ? 4 : 8, Dims == 128 ? 16 : 32>;

/// An absent cotangent reads as zeros, from where `other` is.
inline AttentionIn present(const AttentionIn& x, const AttentionIn& other) {
  return x.data ? x : AttentionIn{other.data, 0, 0, 0};
}

/// `statistics`: (B, H, Nq), or null for a kernel that needs none.
inline MmaDoubleOperands double_operands(const AttentionDoubleBackwardArgs& args,
                                         MmaTangentStatistics* statistics) {
  return {args.q,
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
          statistics};
}

/// Queues the kernel that makes ddout and, where there is a place for them, the statistics.
template <class T>
void launch_tangent(const Stream& stream, const AttentionProblem& p, const MmaDoubleOperands& x) {
  with_mma_dims<T>(p, [&]<int Dims, bool Extras>() {
    using Double = DoubleShape<T, Dims>;
    launch_mma(attention_mma_tangent<Double, Extras>, Double{}, stream, p, p.queries,
               Double::shared_bytes(3, 4, 2), x);
  });
}

/// Queues the kernels that the wanted outputs need.
template <class T>
void launch_double_backward(const Stream& stream, const AttentionProblem& p,
                            const MmaDoubleOperands& x) {
  launch_tangent<T>(stream, p, x);
  with_mma_dims<T>(p, [&]<int Dims, bool Extras>() {
    using Double = DoubleShape<T, Dims>;
    if (x.dq2.data)
      launch_mma(attention_mma_double_queries<Double, Extras>, Double{}, stream, p, p.queries,
                 Double::shared_bytes(3, 4, 2), x);
    if (x.dk2.data || x.dv2.data)
      launch_mma(attention_mma_double_keys<Double, Extras>, Double{}, stream, p, p.keys,
                 Double::shared_bytes(4, 3, 2, 2 * Double::block * sizeof(MmaTangentStatistics)),
                 x);
  });
}

extern template void launch_tangent<bf16>(const Stream&, const AttentionProblem&,
                                          const MmaDoubleOperands&);
extern template void launch_tangent<f16>(const Stream&, const AttentionProblem&,
                                         const MmaDoubleOperands&);
extern template void launch_double_backward<bf16>(const Stream&, const AttentionProblem&,
                                                  const MmaDoubleOperands&);
extern template void launch_double_backward<f16>(const Stream&, const AttentionProblem&,
                                                 const MmaDoubleOperands&);

}  // namespace mettle::kernels::cuda
