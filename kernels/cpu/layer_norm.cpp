// Layer normalisation on the CPU: rows in parallel, each read from memory once; the mathematics of
// a row is in layer_norm-inl.h.
#include "kernels/layer_norm.h"

#include "kernels/argument_checks.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/layer_norm.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/layer_norm-inl.h"
#include "kernels/cpu/row_sums-inl.h"
#include "kernels/cpu/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class P> P* row_of(P* base, std::int64_t row, std::int64_t columns) {
  return base ? base + row * columns : nullptr;
}

template <class T> void forward_typed(const LayerNormForwardArgs& a) {
  using A = accumulate_t<T>;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const auto n = static_cast<std::size_t>(a.columns);
  const auto *x = static_cast<const T*>(a.x), *gamma = static_cast<const T*>(a.gamma),
             *beta = static_cast<const T*>(a.beta);
  auto *mean = static_cast<A*>(a.mean), *rstd = static_cast<A*>(a.rstd);
  const Output<T> y(a.y, a.rows, a.columns);
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      const T* gain = row_of(gamma, group, a.columns);
      const T* shift = row_of(beta, group, a.columns);
      for (std::int64_t i = begin; i < end; ++i) {
        const auto statistics = layer_norm_row(n, x + i * a.columns, gain, shift, a.eps, y.row(i));
        if (mean) mean[i] = statistics.mean;
        if (rstd) rstd[i] = statistics.rstd;
      }
    }
    y.finish();
  });
}

template <class T> void backward_typed(const LayerNormBackwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const auto n = static_cast<std::size_t>(a.columns);
  const auto *x = static_cast<const T*>(a.x), *gamma = static_cast<const T*>(a.gamma),
             *dy = static_cast<const T*>(a.dy);
  const auto *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  const std::int64_t partial_size = blocks.count() * a.columns;
  Scratch<A> dgamma_rows(a.dgamma ? partial_size : 0), dbeta_rows(a.dbeta ? partial_size : 0);
  A* dgamma = a.dgamma ? dgamma_rows.data() : nullptr;
  A* dbeta = a.dbeta ? dbeta_rows.data() : nullptr;
  const Output<T> dx(a.dx, a.rows, a.columns);
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      const T* gain = row_of(gamma, group, a.columns);
      A *dgamma_row = row_of(dgamma, b, a.columns), *dbeta_row = row_of(dbeta, b, a.columns);
      if (dgamma_row) std::fill_n(dgamma_row, n, A{0});
      if (dbeta_row) std::fill_n(dbeta_row, n, A{0});
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t at = row * a.columns;
        const RowStatistics<A> statistics{mean[row], rstd[row]};
        const auto means =
            layer_norm_backward_means(n, x + at, gain, statistics, dy + at, dgamma_row, dbeta_row);
        if (const auto dx_row = dx.row(row))
          with_stores(dx_row, [&](auto out) METTLE_LANES {
            layer_norm_dx(n, x + at, gain, statistics, dy + at, means,
                          [&](std::size_t i, auto span, auto v)
                              METTLE_LANES { out.put(d, v, i, span); });
          });
      }
    }
    dx.finish();
  });
  if (dgamma) add_partial_rows(blocks, a.groups, a.columns, dgamma, static_cast<T*>(a.dgamma));
  if (dbeta) add_partial_rows(blocks, a.groups, a.columns, dbeta, static_cast<T*>(a.dbeta));
}

template <class T> void double_backward_typed(const LayerNormDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const auto n = static_cast<std::size_t>(a.columns);
  const auto *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  Scratch<A> dgamma_rows(a.dgamma2 ? blocks.count() * a.columns : 0);
  A* dgamma = a.dgamma2 ? dgamma_rows.data() : nullptr;
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      A* dgamma_row = row_of(dgamma, b, a.columns);
      if (dgamma_row) std::fill_n(dgamma_row, n, A{0});
      for (std::int64_t i = begin; i < end; ++i) {
        const LayerNormDoubleRow<T, T> row{
            row_of(static_cast<const T*>(a.x), i, a.columns),
            row_of(static_cast<const T*>(a.gamma), group, a.columns),
            row_of(static_cast<const T*>(a.dy), i, a.columns),
            row_of(static_cast<const T*>(a.ddx), i, a.columns),
            row_of(static_cast<const T*>(a.ddgamma), group, a.columns),
            row_of(static_cast<const T*>(a.ddbeta), group, a.columns),
            row_of(static_cast<T*>(a.dx2), i, a.columns),
            dgamma_row,
            row_of(static_cast<T*>(a.ddy), i, a.columns)};
        layer_norm_double_backward_row(n, row, {mean[i], rstd[i]});
      }
    }
  });
  if (dgamma) add_partial_rows(blocks, a.groups, a.columns, dgamma, static_cast<T*>(a.dgamma2));
}

void forward(const LayerNormForwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { forward_typed<T>(a); }, "layer_norm");
}
void backward(const LayerNormBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { backward_typed<T>(a); }, "layer_norm");
}
void double_backward(const LayerNormDoubleBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { double_backward_typed<T>(a); }, "layer_norm");
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {

HWY_EXPORT(forward);
HWY_EXPORT(backward);
HWY_EXPORT(double_backward);

template <class Args> void check_sizes(const Args& a) {
  check_normalised("layer_norm", a.rows, a.columns, a.groups);
}

}  // namespace

void register_layer_norm() {
  layer_norm_forward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const LayerNormForwardArgs& a) {
         check_sizes(a);
         HWY_DYNAMIC_DISPATCH(forward)(a);
       }});
  layer_norm_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const LayerNormBackwardArgs& a) {
         check_sizes(a);
         HWY_DYNAMIC_DISPATCH(backward)(a);
       }});
  layer_norm_double_backward.add({"simd", DeviceType::cpu, 10, nullptr,
                                  [](const Stream&, const LayerNormDoubleBackwardArgs& a) {
                                    check_sizes(a);
                                    HWY_DYNAMIC_DISPATCH(double_backward)(a);
                                  }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
