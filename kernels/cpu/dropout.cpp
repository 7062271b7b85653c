// Dropout, and dropout + residual + layer norm, on the CPU. The fused kernels wrap the row
// functions of layer_norm-inl.h: with D the diagonal of dropout factors and LN the layer norm,
//
//   s = residual + D x,   y = LN(s)
//   backward:          dresidual = LN'(s) dy + ds,   dx = D dresidual
//   double backward:   u = ddresidual + D ddx arrives at LN'(s) dy, and at ds itself: dds = u.
//                      LN's double backward with u gives ddy, dgamma2 and the gradient for s, which
//                      goes to residual as it is and to x through D.
//
// A row's intermediate values stay in f32 (f64) in cache and are rounded once.
#include "kernels/dropout.h"

#include "kernels/argument_checks.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "kernels/cpu/dropout-inl.h"
#include "kernels/cpu/layer_norm-inl.h"
#include "kernels/cpu/row_sums-inl.h"
#include "kernels/cpu/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class P> P* row_of(P* base, std::int64_t row, std::int64_t columns) {
  return base ? base + row * columns : nullptr;
}

template <class T> void dropout_typed(const DropoutArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const DropoutFactors<A> factors(a.key, a.p);
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  static_assert(elements_per_task % 4 == 0, "a task begins with a Philox block");
  parallel_for(a.n, elements_per_task, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const auto first = static_cast<std::size_t>(begin);
    factors.each(begin, end - begin, [&](std::size_t i, auto span, auto factor) METTLE_LANES {
      store(d, hn::Mul(load(d, x + first + i, span), factor), y + first + i, span);
    });
  });
}

template <class T> void forward_typed(const DropoutResidualLayerNormForwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const DropoutFactors<A> factors(a.key, a.p);
  const auto n = static_cast<std::size_t>(a.columns);
  auto *mean = static_cast<A*>(a.mean), *rstd = static_cast<A*>(a.rstd);
  const Output<T> y(a.y, a.rows, a.columns);
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      const T* gain = row_of(static_cast<const T*>(a.gamma), group, a.columns);
      const T* shift = row_of(static_cast<const T*>(a.beta), group, a.columns);
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t at = row * a.columns;
        const T *x = static_cast<const T*>(a.x) + at,
                *residual = static_cast<const T*>(a.residual) + at;
        T* s = static_cast<T*>(a.s) + at;
        factors.each(at, a.columns, [&](std::size_t i, auto span, auto factor) METTLE_LANES {
          const auto kept = hn::Mul(load(d, x + i, span), factor);
          store(d, hn::Add(load(d, residual + i, span), kept), s + i, span);
        });
        const auto statistics = layer_norm_row(n, s, gain, shift, a.eps, y.row(row));
        if (mean) mean[row] = statistics.mean;
        if (rstd) rstd[row] = statistics.rstd;
      }
    }
    y.finish();
  });
}

template <class T> void backward_typed(const DropoutResidualLayerNormBackwardArgs& a) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const DropoutFactors<A> factors(a.key, a.p);
  const auto n = static_cast<std::size_t>(a.columns);
  const auto *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  const std::int64_t partial_size = blocks.count() * a.columns;
  Scratch<A> dgamma_rows(a.dgamma ? partial_size : 0), dbeta_rows(a.dbeta ? partial_size : 0);
  A* dgamma = a.dgamma ? dgamma_rows.data() : nullptr;
  A* dbeta = a.dbeta ? dbeta_rows.data() : nullptr;
  const bool wanted = a.dx || a.dresidual;
  const Output<T> x_slopes(a.dx, a.rows, a.columns);
  const Output<T> residual_slopes(a.dresidual, a.rows, a.columns);
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    Scratch<A> total_row(wanted ? a.columns : 0);
    A* total = wanted ? total_row.data() : nullptr;
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      const T* gain = row_of(static_cast<const T*>(a.gamma), group, a.columns);
      A *dgamma_row = row_of(dgamma, b, a.columns), *dbeta_row = row_of(dbeta, b, a.columns);
      if (dgamma_row) std::fill_n(dgamma_row, n, A{0});
      if (dbeta_row) std::fill_n(dbeta_row, n, A{0});
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t at = row * a.columns;
        const T *s = static_cast<const T*>(a.s) + at, *dy = static_cast<const T*>(a.dy) + at;
        const RowStatistics<A> statistics{mean[row], rstd[row]};
        const auto means =
            layer_norm_backward_means(n, s, gain, statistics, dy, dgamma_row, dbeta_row);
        if (!total) continue;
        const T* ds = row_of(static_cast<const T*>(a.ds), row, a.columns);
        layer_norm_dx(n, s, gain, statistics, dy, means,
                      [&](std::size_t i, auto span, auto dx) METTLE_LANES {
                        const auto sum = hn::Add(dx, load_or(d, ds, i, span, hn::Zero(d)));
                        store(d, sum, total + i, span);
                      });
        if (const auto dresidual = residual_slopes.row(row))
          with_stores(dresidual, [&](auto out) METTLE_LANES {
            for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
              out.put(d, load(d, total + i, span), i, span);
            });
          });
        if (const auto dx = x_slopes.row(row))
          with_stores(dx, [&](auto out) METTLE_LANES {
            factors.each(at, a.columns, [&](std::size_t i, auto span, auto factor) METTLE_LANES {
              out.put(d, hn::Mul(load(d, total + i, span), factor), i, span);
            });
          });
      }
    }
    x_slopes.finish();
    residual_slopes.finish();
  });
  if (dgamma) add_partial_rows(blocks, a.groups, a.columns, dgamma, static_cast<T*>(a.dgamma));
  if (dbeta) add_partial_rows(blocks, a.groups, a.columns, dbeta, static_cast<T*>(a.dbeta));
}

/// One row of the double backward; u and dx2 are work rows of D numbers.
template <class T>
void double_backward_row(const DropoutResidualLayerNormDoubleBackwardArgs& a, std::int64_t row,
                         std::int64_t group, const accumulate_t<T>* factor, accumulate_t<T>* u,
                         accumulate_t<T>* dx2, accumulate_t<T>* dgamma_row) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto zero = hn::Zero(d);
  const auto n = static_cast<std::size_t>(a.columns);
  const auto row_in = [&](const void* base, std::int64_t r) {
    return row_of(static_cast<const T*>(base), r, a.columns);
  };
  const auto row_out = [&](void* base) { return row_of(static_cast<T*>(base), row, a.columns); };
  const T *ddx = row_in(a.ddx, row), *ddresidual = row_in(a.ddresidual, row);
  T* dds = row_out(a.dds);
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto through_x = hn::Mul(load_or(d, ddx, i, span, zero), load(d, factor + i, span));
    const auto total = hn::Add(load_or(d, ddresidual, i, span, zero), through_x);
    store(d, total, u + i, span);
    if (dds) store(d, total, dds + i, span);
  });
  T *x_out = row_out(a.dx2), *residual_out = row_out(a.dresidual2);
  const LayerNormDoubleRow<T, A> core{row_in(a.s, row),
                                      row_in(a.gamma, group),
                                      row_in(a.dy, row),
                                      u,
                                      row_in(a.ddgamma, group),
                                      row_in(a.ddbeta, group),
                                      x_out || residual_out ? dx2 : nullptr,
                                      dgamma_row,
                                      row_out(a.ddy)};
  layer_norm_double_backward_row(
      n, core, {static_cast<const A*>(a.mean)[row], static_cast<const A*>(a.rstd)[row]});
  if (!core.dx2) return;
  for_lanes(d, n, [&](std::size_t i, auto span) METTLE_LANES {
    const auto slope = load(d, dx2 + i, span);
    if (residual_out) store(d, slope, residual_out + i, span);
    if (x_out) store(d, hn::Mul(slope, load(d, factor + i, span)), x_out + i, span);
  });
}

template <class T> void double_backward_typed(const DropoutResidualLayerNormDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  const DropoutFactors<A> factors(a.key, a.p);
  Scratch<A> dgamma_rows(a.dgamma2 ? blocks.count() * a.columns : 0);
  A* dgamma = a.dgamma2 ? dgamma_rows.data() : nullptr;
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    Scratch<A> room(a.columns + dropout_slack), u(a.columns), dx2(a.columns);
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      A* dgamma_row = row_of(dgamma, b, a.columns);
      if (dgamma_row) std::fill_n(dgamma_row, a.columns, A{0});
      for (std::int64_t row = begin; row < end; ++row) {
        const A* factor = factors.fill(row * a.columns, a.columns, room.data());
        double_backward_row<T>(a, row, group, factor, u.data(), dx2.data(), dgamma_row);
      }
    }
  });
  if (dgamma) add_partial_rows(blocks, a.groups, a.columns, dgamma, static_cast<T*>(a.dgamma2));
}

void plain(const DropoutArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { dropout_typed<T>(a); }, "dropout");
}
void forward(const DropoutResidualLayerNormForwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { forward_typed<T>(a); }, "dropout_residual_layer_norm");
}
void backward(const DropoutResidualLayerNormBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { backward_typed<T>(a); }, "dropout_residual_layer_norm");
}
void double_backward(const DropoutResidualLayerNormDoubleBackwardArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { double_backward_typed<T>(a); }, "dropout_residual_layer_norm");
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {
HWY_EXPORT(plain);
HWY_EXPORT(forward);
HWY_EXPORT(backward);
HWY_EXPORT(double_backward);

template <class Args> void check_fused(const Args& a) {
  check_normalised("dropout_residual_layer_norm", a.rows, a.columns, a.groups);
  check_drop_probability(a.p);
}
}  // namespace

void register_dropout() {
  dropout.add({"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const DropoutArgs& a) {
                 check_drop_probability(a.p);
                 HWY_DYNAMIC_DISPATCH(plain)(a);
               }});
  dropout_residual_layer_norm_forward.add(
      {"simd", DeviceType::cpu, 10, nullptr,
       [](const Stream&, const DropoutResidualLayerNormForwardArgs& a) {
         check_fused(a);
         HWY_DYNAMIC_DISPATCH(forward)(a);
       }});
  dropout_residual_layer_norm_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr,
       [](const Stream&, const DropoutResidualLayerNormBackwardArgs& a) {
         check_fused(a);
         HWY_DYNAMIC_DISPATCH(backward)(a);
       }});
  dropout_residual_layer_norm_double_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr,
       [](const Stream&, const DropoutResidualLayerNormDoubleBackwardArgs& a) {
         check_fused(a);
         HWY_DYNAMIC_DISPATCH(double_backward)(a);
       }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
