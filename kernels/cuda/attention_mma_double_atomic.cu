// Attention double backward by mma.sync with atomics: instances by dtype, head dims and extras, and
// the sums of dq2 before and after.
#include "kernels/cuda/attention_mma_double_atomic.cuh"

#include "kernels/copy.h"
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_double_launch.h"
#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

// 128 keys per block where there are registers and columns for 8 warps, so that a query row is
// added to half as often as by 64. Head dims of 65 to 96 run in the tiles of 128: theirs do not
// divide by 16 columns per warp.
template <class T, int Dims>
using AtomicShape = std::conditional_t<Dims <= 64, MmaShape<T, Dims, 1, Dims == 32 ? 4 : 8, 32>,
                                       DoubleShape<T, 128>>;

template <class Shape> constexpr std::size_t atomic_shared_bytes() {
  return Shape::shared_bytes(4, 3, 2,
                             2 * Shape::block * sizeof(MmaTangentStatistics) +
                                 2 * MmaStoredKeys<Shape>::own_size * sizeof(typename Shape::T));
}

void round_sums(const Stream& stream, const AttentionProblem& p, const float* sums,
                const AttentionOut& to) {
  const std::int64_t n = p.queries, d = p.head_dim;
  copy(stream, {sums,
                to.data,
                DType::f32,
                p.dtype,
                {p.batch, p.heads, n, d},
                {p.heads * n * d, n * d, d, 1},
                {to.batch, to.head, to.row, 1}});
}

}  // namespace

bool attention_atomic_fits(const Stream& stream, const AttentionDoubleBackwardArgs& args) {
  std::size_t needed = 0;
  with_mma_type(args.problem, [&]<class T, int Dims, bool Extras>() {
    needed = atomic_shared_bytes<AtomicShape<T, Dims>>();
  });
  return needed <= device_limits(stream).shared_bytes;
}

void attention_double_backward_mma_atomic(const Stream& stream,
                                          const AttentionDoubleBackwardArgs& args) {
  // Without dq2 there is nothing to add up, and for dq2 alone a sweep by keys is the longer way.
  if (!args.dq2.data || (!args.dk2.data && !args.dv2.data))
    return attention_double_backward_mma(stream, args);
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  const auto rows = static_cast<std::size_t>(p.batch * p.heads * p.queries);
  const auto elements = rows * static_cast<std::size_t>(p.head_dim);
  Scratch scratch(stream,
                  Scratch::sum(rows * sizeof(MmaTangentStatistics), elements * sizeof(float)));
  const MmaDoubleOperands x = double_operands(args, scratch.take<MmaTangentStatistics>(rows));
  float* const sums = scratch.take<float>(elements);
  fill(stream, {sums, DType::f32, static_cast<std::int64_t>(elements), 0.0});
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Shape = AtomicShape<T, Dims>;
    launch_tangent<T>(stream, p, x);
    launch_mma(attention_mma_double_atomic<Shape, Extras>, Shape{}, stream, p, p.keys,
               atomic_shared_bytes<Shape>(), MmaDoubleAtomicOperands{x, sums});
  });
  round_sums(stream, p, sums, args.dq2);
}

}  // namespace mettle::kernels::cuda
