// Attention forward by wgmma: instances by dtype, head dims and extras, and the maps of its
// operands.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_mma_launch.h"
#include "kernels/cuda/attention_wgmma_forward.cuh"

namespace mettle::kernels::cuda {
namespace {

// Tiles of 128 keys where registers allow.
template <class T, int Dims, bool Extras>
using ForwardShape = WgmmaShape<T, Dims, Extras ? 64 : 128>;

template <class Shape, class Pointer>
dev::TensorMap map_of(const AttentionProblem& p, const AttentionOperand<Pointer>& x,
                      std::int64_t rows, std::int64_t cols, int box_rows) {
  constexpr std::int64_t size = sizeof(typename Shape::T);
  // Where there is one of something its stride means nothing, and may be what a map does not take.
  const auto stride = [&](std::int64_t count, std::int64_t elements) {
    return size * (count > 1 ? elements : cols);
  };
  return dev::make_tensor_map(
      {.element = p.dtype == DType::bf16 ? dev::TensorElement::bf16 : dev::TensorElement::f16,
       .base = const_cast<void*>(x.data),
       .rank = 4,
       .size = {cols, rows, p.heads, p.batch},
       .stride_bytes = {stride(rows, x.row), stride(p.heads, x.head), stride(p.batch, x.batch)},
       .box = {Shape::panel, box_rows, 1, 1},
       .swizzle = Shape::swizzle});
}

template <class Shape> WgmmaForwardOperands operands_of(const AttentionForwardArgs& a) {
  const AttentionProblem& p = a.problem;
  WgmmaForwardOperands x = {};
  x.q = map_of<Shape>(p, a.q, p.queries, p.head_dim, Shape::group_rows);
  x.k = map_of<Shape>(p, a.k, p.keys, p.head_dim, Shape::block);
  x.v = map_of<Shape>(p, a.v, p.keys, p.value_dim, Shape::block);
  x.wants_out = a.out.data != nullptr;
  if (x.wants_out) x.out = map_of<Shape>(p, a.out, p.queries, p.value_dim, Shape::group_rows);
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
               Shape::shared_bytes, operands_of<Shape>(args));
  });
}

}  // namespace mettle::kernels::cuda
