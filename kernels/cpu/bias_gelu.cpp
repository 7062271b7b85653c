// bias + GELU on the CPU. The formulas of the two forms and their derivatives are
// GeluFormula<form>, GeluLookup<form> takes them from tables; the drivers sweep rows in parallel
// and sum the bias gradients in a fixed order.
#include "kernels/bias_gelu.h"

#include "kernels/argument_checks.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/bias_gelu.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "kernels/cpu/gelu_tables.h"
#include "kernels/cpu/output-inl.h"
#include "kernels/cpu/piecewise-inl.h"
#include "kernels/cpu/row_sums-inl.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/transcendental-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class V> struct Slopes { V first, second; };

template <GeluForm form> struct GeluFormula;

// With the density phi(z) = exp(-z^2 / 2) / sqrt(2 pi):
//   gelu = z Phi,   gelu' = Phi + z phi,   gelu'' = phi (2 - z^2).
template <> struct GeluFormula<GeluForm::erf> {
  static constexpr double inverse_sqrt_two_pi = 0.39894228040143267794;

  template <class D> static HWY_INLINE hn::Vec<D> value(D d, hn::Vec<D> z) {
    // z Phi(z) = max(z, 0) - |z| Phi(-|z|). The zero comes first: then NaN stays NaN.
    const auto [a, tail, bell] = normal_tail(d, z);
    return hn::NegMulAdd(a, tail, hn::Max(hn::Zero(d), z));
  }
  template <class D> static HWY_INLINE hn::Vec<D> slope(D d, hn::Vec<D> z) {
    return slopes(d, z).first;
  }
  template <class D> static HWY_INLINE Slopes<hn::Vec<D>> slopes(D d, hn::Vec<D> z) {
    using A = hn::TFromD<D>;
    const auto [cdf, bell] = normal(d, z);
    const auto density = hn::Mul(bell, hn::Set(d, static_cast<A>(inverse_sqrt_two_pi)));
    return {hn::MulAdd(z, density, cdf), hn::Mul(density, hn::NegMulAdd(z, z, hn::Set(d, A{2})))};
  }
};

// (1 + tanh u) / 2 = sigmoid(2 u). With v = 2 u = z (k0 + k1 z^2), s = sigmoid(v), t = s (1 - s):
//   gelu = z s,   gelu' = s + z s',   gelu'' = 2 s' + z s'',
//   s' = t v',   s'' = t (v'' + (1 - 2 s) v'^2),   v' = k0 + 3 k1 z^2,   v'' = 6 k1 z.
template <> struct GeluFormula<GeluForm::tanh> {
  static constexpr double k0 = 1.5957691216057307117, k1 = 0.044715 * k0;
  // Beyond, s is 0 or 1 and its derivatives vanish in f64 too; keeps 0 * infinity out of them.
  static constexpr double far = 50;

  template <class V> struct Gate { V z, s, t; };
  template <class D> static HWY_INLINE Gate<hn::Vec<D>> gate(D d, hn::Vec<D> value) {
    using A = hn::TFromD<D>;
    const auto limit = hn::Set(d, static_cast<A>(far));
    const auto z = hn::Max(hn::Neg(limit), hn::Min(limit, value));
    const auto v = hn::Mul(z, hn::MulAdd(hn::Mul(z, z), hn::Set(d, static_cast<A>(k1)),
                                         hn::Set(d, static_cast<A>(k0))));
    const auto e = exp_of_nonpositive(d, hn::Neg(hn::Abs(v)));
    const auto inverse = reciprocal(d, hn::Add(hn::Set(d, A{1}), e));
    const auto small = hn::Mul(e, inverse);
    return {z, hn::IfThenElse(hn::Lt(v, hn::Zero(d)), small, inverse), hn::Mul(small, inverse)};
  }
  template <class D> static HWY_INLINE hn::Vec<D> value(D d, hn::Vec<D> z) {
    return hn::Mul(z, gate(d, z).s);
  }
  template <class D> static HWY_INLINE hn::Vec<D> slope(D d, hn::Vec<D> z) {
    return slopes(d, z).first;
  }
  template <class D> static HWY_INLINE Slopes<hn::Vec<D>> slopes(D d, hn::Vec<D> value) {
    using A = hn::TFromD<D>;
    const auto [z, s, t] = gate(d, value);
    const auto two = hn::Set(d, A{2});
    const auto v1 = hn::MulAdd(hn::Mul(z, z), hn::Set(d, static_cast<A>(3 * k1)),
                               hn::Set(d, static_cast<A>(k0)));
    const auto v2 = hn::Mul(z, hn::Set(d, static_cast<A>(6 * k1)));
    const auto s1 = hn::Mul(t, v1);
    const auto turn = hn::NegMulAdd(two, s, hn::Set(d, A{1}));
    const auto s2 = hn::Mul(t, hn::MulAdd(turn, hn::Mul(v1, v1), v2));
    return {hn::MulAdd(z, s1, s), hn::MulAdd(z, s2, hn::Mul(two, s1))};
  }
};

#if HWY_TARGET <= HWY_AVX3
const GeluTables& tables_of(GeluForm form) {
  return form == GeluForm::erf ? gelu_erf_tables() : gelu_tanh_tables();
}

template <GeluForm form> class GeluLookup {
 public:
  using D = hn::ScalableTag<float>;
  using V = hn::Vec<D>;
  using Formula = GeluFormula<form>;

  HWY_INLINE GeluLookup() : GeluLookup(tables_of(form)) {}

  HWY_INLINE V value(D d, V z) const {
    const auto a = hn::Abs(z);
    const auto y = hn::NegMulAdd(a, gate_(a), hn::Max(hn::Zero(d), z));
    return gate_.or_beyond(a, y, [&]() METTLE_LANES { return Formula::value(d, z); });
  }
  HWY_INLINE V slope(D d, V z) const {
    const auto a = hn::Abs(z);
    return slope_.or_beyond(a, near_slope(d, z, a),
                            [&]() METTLE_LANES { return Formula::slope(d, z); });
  }
  HWY_INLINE Slopes<V> slopes(D d, V z) const {
    const auto a = hn::Abs(z);
    const Slopes<V> near{near_slope(d, z, a), bend_(a)};
    const auto first = [&]() METTLE_LANES { return Formula::slopes(d, z).first; };
    const auto second = [&]() METTLE_LANES { return Formula::slopes(d, z).second; };
    return {slope_.or_beyond(a, near.first, first), bend_.or_beyond(a, near.second, second)};
  }

 private:
  HWY_INLINE explicit GeluLookup(const GeluTables& tables)
      : gate_(tables.gate), slope_(tables.slope), bend_(tables.bend) {}

  HWY_INLINE V near_slope(D d, V z, V a) const {
    const auto below = slope_(a);
    return hn::IfThenElse(hn::Lt(z, hn::Zero(d)), below, hn::Sub(hn::Set(d, 1.0f), below));
  }

  PiecewiseLanes<GeluTables::degree> gate_, slope_, bend_;
};

template <class T, GeluForm form>
using Gelu =
    std::conditional_t<looks_up_pieces<accumulate_t<T>>, GeluLookup<form>, GeluFormula<form>>;
#else
template <class T, GeluForm form> using Gelu = GeluFormula<form>;
#endif

template <class P> P* row_of(P* base, std::int64_t row, std::int64_t columns) {
  return base ? base + row * columns : nullptr;
}

/// Calls body(block, group, row, sums) for each row, where `sums` is the block's partial row of the
/// column sums (null when `columns_out` is), and writes the finished sums to columns_out.
template <class T, class Args, class Body>
void for_rows(const Args& a, void* columns_out, Body body) {
  using A = accumulate_t<T>;
  const RowBlocks blocks(a.rows, a.columns, a.groups);
  Scratch<A> partial(columns_out ? blocks.count() * a.columns : 0);
  A* sums = columns_out ? partial.data() : nullptr;
  parallel_for(blocks.count(), blocks.grain(), [&](std::int64_t first, std::int64_t last) HWY_ATTR {
    for (std::int64_t b = first; b < last; ++b) {
      const auto [group, begin, end] = blocks[b];
      A* row_sums = row_of(sums, b, a.columns);
      if (row_sums) std::fill_n(row_sums, a.columns, A{0});
      for (std::int64_t i = begin; i < end; ++i) body(group, i, row_sums);
    }
    hwy::FlushStream();  // bodies write to Outputs
  });
  if (columns_out)
    add_partial_rows(blocks, a.groups, a.columns, sums, static_cast<T*>(columns_out));
}

template <class T, GeluForm form> void forward_typed(const BiasGeluForwardArgs& a) {
  const hn::ScalableTag<accumulate_t<T>> d;
  const Output<T> y(a.y, a.rows, a.columns);
  for_rows<T>(a, nullptr, [&](std::int64_t group, std::int64_t row, accumulate_t<T>*) HWY_ATTR {
    const T* x = static_cast<const T*>(a.x) + row * a.columns;
    const T* bias = row_of(static_cast<const T*>(a.bias), group, a.columns);
    const Gelu<T, form> gelu;
    with_stores(y.row(row), [&](auto out) METTLE_LANES {
      for_lanes(d, static_cast<std::size_t>(a.columns), [&](std::size_t i, auto span) METTLE_LANES {
        const auto z = hn::Add(load(d, x + i, span), load_or(d, bias, i, span, hn::Zero(d)));
        out.put(d, gelu.value(d, z), i, span);
      });
    });
  });
}

template <class T, GeluForm form> void backward_typed(const BiasGeluBackwardArgs& a) {
  const hn::ScalableTag<accumulate_t<T>> d;
  const Output<T> dx(a.dx, a.rows, a.columns);
  for_rows<T>(
      a, a.dbias, [&](std::int64_t group, std::int64_t row, accumulate_t<T>* sums) HWY_ATTR {
        const T *x = static_cast<const T*>(a.x) + row * a.columns,
                *dy = static_cast<const T*>(a.dy) + row * a.columns;
        const T* bias = row_of(static_cast<const T*>(a.bias), group, a.columns);
        const Gelu<T, form> gelu;
        with_stores(dx.row(row), [&](auto out) METTLE_LANES {
          for_lanes(d, static_cast<std::size_t>(a.columns),
                    [&](std::size_t i, auto span) METTLE_LANES {
                      const auto z =
                          hn::Add(load(d, x + i, span), load_or(d, bias, i, span, hn::Zero(d)));
                      const auto slope = hn::Mul(load(d, dy + i, span), gelu.slope(d, z));
                      if (out.p) out.put(d, slope, i, span);
                      if (sums) store(d, hn::Add(load(d, sums + i, span), slope), sums + i, span);
                    });
        });
      });
}

template <class T, GeluForm form> void double_backward_typed(const BiasGeluDoubleBackwardArgs& a) {
  const hn::ScalableTag<accumulate_t<T>> d;
  const auto zero = hn::Zero(d);
  for_rows<T>(
      a, a.dbias2, [&](std::int64_t group, std::int64_t row, accumulate_t<T>* sums) HWY_ATTR {
        const T *x = static_cast<const T*>(a.x) + row * a.columns,
                *dy = static_cast<const T*>(a.dy) + row * a.columns;
        const T* ddx = row_of(static_cast<const T*>(a.ddx), row, a.columns);
        const T* bias = row_of(static_cast<const T*>(a.bias), group, a.columns);
        const T* ddbias = row_of(static_cast<const T*>(a.ddbias), group, a.columns);
        T *dx2 = row_of(static_cast<T*>(a.dx2), row, a.columns),
          *ddy = row_of(static_cast<T*>(a.ddy), row, a.columns);
        const Gelu<T, form> gelu;
        for_lanes(d, static_cast<std::size_t>(a.columns),
                  [&](std::size_t i, auto span) METTLE_LANES {
                    const auto z = hn::Add(load(d, x + i, span), load_or(d, bias, i, span, zero));
                    const auto e =
                        hn::Add(load_or(d, ddx, i, span, zero), load_or(d, ddbias, i, span, zero));
                    const auto slopes = gelu.slopes(d, z);
                    const auto bend = hn::Mul(hn::Mul(e, load(d, dy + i, span)), slopes.second);
                    if (ddy) store(d, hn::Mul(e, slopes.first), ddy + i, span);
                    if (dx2) store(d, bend, dx2 + i, span);
                    if (sums) store(d, hn::Add(load(d, sums + i, span), bend), sums + i, span);
                  });
      });
}

void forward(const BiasGeluForwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        a.form == GeluForm::erf ? forward_typed<T, GeluForm::erf>(a)
                                : forward_typed<T, GeluForm::tanh>(a);
      },
      "bias_gelu");
}
void backward(const BiasGeluBackwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        a.form == GeluForm::erf ? backward_typed<T, GeluForm::erf>(a)
                                : backward_typed<T, GeluForm::tanh>(a);
      },
      "bias_gelu");
}
void double_backward(const BiasGeluDoubleBackwardArgs& a) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        a.form == GeluForm::erf ? double_backward_typed<T, GeluForm::erf>(a)
                                : double_backward_typed<T, GeluForm::tanh>(a);
      },
      "bias_gelu");
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
}  // namespace

void register_bias_gelu() {
  bias_gelu_forward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const BiasGeluForwardArgs& a) {
         check_groups("bias_gelu", a.rows, a.groups);
         HWY_DYNAMIC_DISPATCH(forward)(a);
       }});
  bias_gelu_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const BiasGeluBackwardArgs& a) {
         check_groups("bias_gelu", a.rows, a.groups);
         HWY_DYNAMIC_DISPATCH(backward)(a);
       }});
  bias_gelu_double_backward.add({"simd", DeviceType::cpu, 10, nullptr,
                                 [](const Stream&, const BiasGeluDoubleBackwardArgs& a) {
                                   check_groups("bias_gelu", a.rows, a.groups);
                                   HWY_DYNAMIC_DISPATCH(double_backward)(a);
                                 }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
