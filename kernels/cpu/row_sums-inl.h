// Sums over the rows of each group in two fixed stages: every block of rows adds into its own
// partial row, then the partial rows of a group are added in order.
#if defined(METTLE_KERNELS_CPU_ROW_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_ROW_SUMS_INL_H_
#undef METTLE_KERNELS_CPU_ROW_SUMS_INL_H_
#else
#define METTLE_KERNELS_CPU_ROW_SUMS_INL_H_
#endif

#include <algorithm>

#include "engine/parallel.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {

/// out[g, j] = sum over the blocks b of group g of partial[b, j], b ascending. out [groups,
/// columns]
template <class T>
void add_partial_rows(const RowBlocks& blocks, std::int64_t groups, std::int64_t columns,
                      const accumulate_t<T>* partial, T* out) {
  const hn::ScalableTag<accumulate_t<T>> d;
  constexpr std::int64_t strip = 256;  // columns summed at a time, held in L1
  const std::int64_t strips = (columns + strip - 1) / strip;
  const std::int64_t cost = strip * std::max<std::int64_t>(blocks.per_group(), 1);
  const std::int64_t grain = std::max<std::int64_t>(1, elements_per_task / cost);
  parallel_for(groups * strips, grain, [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t item = first; item < last; ++item) {
      const std::int64_t group = item / strips, column = item % strips * strip;
      const accumulate_t<T>* rows = partial + group * blocks.per_group() * columns + column;
      for_lanes(d, static_cast<std::size_t>(std::min(strip, columns - column)),
                [&](std::size_t i, auto span) METTLE_LANES {
                  auto total = hn::Zero(d);
                  for (std::int64_t b = 0; b < blocks.per_group(); ++b)
                    total = hn::Add(total, load(d, rows + b * columns + i, span));
                  store(d, total, out + group * columns + column + i, span);
                });
    }
  });
}

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
