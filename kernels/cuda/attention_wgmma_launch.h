// Host side of the attention kernels that use wgmma: the maps of their operands, and the statistics
// that a kernel which owns query rows leaves for the others.
#pragma once

#include "kernels/cuda/attention_mma_launch.h"
#include "kernels/cuda/attention_wgmma_ring.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {

/// Of `rows` rows of every head, of which a copy moves box_rows and a panel of Shape.
template <class Shape, class Pointer>
dev::TensorMap wgmma_map(const AttentionProblem& p, const AttentionOperand<Pointer>& x,
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

/// Working memory for the statistics of all query rows, whole tiles of Shape::rows of every head.
template <class Shape, class Statistics> class WgmmaScratch {
 public:
  WgmmaScratch(const Stream& stream, const AttentionProblem& p)
      : rows_(attention_tiles(p.queries, Shape::rows) * Shape::rows),
        count_(static_cast<std::size_t>(p.batch * p.heads * rows_)),
        scratch_(stream, Scratch::sum(count_ * sizeof(Statistics))),
        data_(scratch_.template take<Statistics>(count_)) {}
  WgmmaStatistics<Statistics> statistics() const { return {data_, static_cast<int>(rows_)}; }

 private:
  std::int64_t rows_;
  std::size_t count_;
  Scratch scratch_;
  Statistics* data_;
};

}  // namespace mettle::kernels::cuda
