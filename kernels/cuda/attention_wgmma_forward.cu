// Attention forward by wgmma: instances by dtype, head dims and extras, and the maps of its
// operands.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_wgmma_forward.cuh"
#include "kernels/cuda/attention_wgmma_launch.h"

namespace mettle::kernels::cuda {
namespace {

// Tiles of 128 keys where registers allow.
template <class T, int Dims, bool Extras>
using ForwardShape = WgmmaShape<T, Dims, Extras ? 64 : 128>;

template <class Shape> WgmmaForwardOperands operands_of(const AttentionForwardArgs& a) {
  const AttentionProblem& p = a.problem;
  WgmmaForwardOperands x = {};
  x.q = wgmma_map<Shape>(p, a.q, p.queries, p.head_dim, Shape::group_rows);
  x.k = wgmma_map<Shape>(p, a.k, p.keys, p.head_dim, Shape::block);
  x.v = wgmma_map<Shape>(p, a.v, p.keys, p.value_dim, Shape::block);
  x.wants_out = a.out.data != nullptr;
  if (x.wants_out) x.out = wgmma_map<Shape>(p, a.out, p.queries, p.value_dim, Shape::group_rows);
  x.lse = static_cast<float*>(a.lse);
  return x;
}

}  // namespace

void attention_forward_wgmma(const Stream& stream, const AttentionForwardArgs& args) {
  cpu::attention::check_call(args, "attention_forward");
  const AttentionProblem& p = args.problem;
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Shape = ForwardShape<T, Dims, Extras>;
    launch_mma(attention_wgmma_forward<Shape, Extras>, Shape{}, stream, p, p.queries,
               Shape::shared_bytes(1, 2), operands_of<Shape>(args));
  });
}

}  // namespace mettle::kernels::cuda
