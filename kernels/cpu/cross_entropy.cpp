// Softmax cross-entropy on the CPU, one thread to a row. A row is walked in strips that stay in the
// first-level cache: the forward pass reads each logit once from memory, taking the largest of a
// strip and the sum of exponentials below it, which are merged in f64. Within a strip sums go
// through f32 (f64) lanes, always in the same order.
//
// With p = inverse exp(z - highest), the loss is written so that large logits cancel exactly:
//     loss = log(1 / inverse) + (1 - eps) (highest - z_target) + eps (highest - mean(z)).
#include "kernels/cross_entropy.h"

#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/parallel.h"
#include "kernels/cpu/cross_entropy_targets.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/transcendental-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

/// Calls body(begin, size) for the strips of a row of n elements.
template <class Body> HWY_INLINE void for_strips(std::int64_t n, Body body) {
  constexpr std::int64_t strip = 2048;
  for (std::int64_t begin = 0; begin < n; begin += strip)
    body(begin, static_cast<std::size_t>(std::min(strip, n - begin)));
}

template <class D, class T> HWY_INLINE hn::TFromD<D> max_lanes(D d, std::size_t n, const T* x) {
  const auto least = hn::Set(d, -std::numeric_limits<hn::TFromD<D>>::infinity());
  const std::size_t lanes = hn::Lanes(d);
  auto m0 = least, m1 = least;
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    m0 = hn::Max(m0, load(d, x + i, Full{}));
    m1 = hn::Max(m1, load(d, x + i + lanes, Full{}));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, load(d, x + i, Full{}));
  if (i < n) {
    const Part part{n - i};
    m1 = hn::Max(m1, hn::IfThenElse(hn::FirstN(d, part.n), load(d, x + i, part), least));
  }
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
}

struct RowSums {
  double highest = -std::numeric_limits<double>::infinity();
  double exponentials = 0;  // sum of exp(z - highest)
  double logits = 0;        // sum of z, of rows with label smoothing
};

template <class T> RowSums row_sums(const T* z, std::int64_t n, bool smooth) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  RowSums row;
  for_strips(n, [&](std::int64_t begin, std::size_t size) METTLE_LANES {
    const T* strip = z + begin;
    const double high = max_lanes(d, size, strip);
    // Of a strip that is -inf throughout the exponentials are 0; only a NaN among them counts.
    const bool empty = high == -std::numeric_limits<double>::infinity();
    const auto base = hn::Set(d, empty ? A{0} : static_cast<A>(high));
    const double part = sum_lanes(d, size, [&](std::size_t i, auto span) METTLE_LANES {
      return exp_of_nonpositive(d, hn::Sub(load(d, strip + i, span), base));
    });
    if (smooth)
      row.logits += sum_lanes(
          d, size, [&](std::size_t i, auto span) METTLE_LANES { return load(d, strip + i, span); });
    if (empty) {
      row.exponentials += part;
    } else if (high > row.highest) {
      row.exponentials = row.exponentials * std::exp(row.highest - high) + part;
      row.highest = high;
    } else {
      row.exponentials += part * std::exp(high - row.highest);
    }
  });
  return row;
}

/// dz = slope (p - q) of one row; dz may be z.
template <class T>
void backward_row(const CrossEntropyRows& of, const T* z, std::int64_t target, double highest,
                  double inverse, double slope, T* dz) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const double everywhere = of.label_smoothing / static_cast<double>(of.classes);
  const double p = std::exp(static_cast<double>(z[target]) - highest) * inverse;
  const double at_target = slope * (p - everywhere - (1 - of.label_smoothing));
  const auto shift = hn::Set(d, static_cast<A>(highest));
  const auto scale = hn::Set(d, static_cast<A>(slope * inverse));
  const auto rest = hn::Set(d, static_cast<A>(slope * everywhere));
  for_lanes(d, static_cast<std::size_t>(of.classes), [&](std::size_t j, auto span) METTLE_LANES {
    const auto e = exp_of_nonpositive(d, hn::Sub(load(d, z + j, span), shift));
    store(d, hn::MulSub(e, scale, rest), dz + j, span);
  });
  dz[target] = static_cast<T>(at_target);
}

struct CotangentSums {
  double weighted = 0;  // sum of u p
  double plain = 0;     // sum of u
};

template <class T>
CotangentSums cotangent_sums(const T* z, const T* u, std::int64_t n, double highest,
                             double inverse) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto shift = hn::Set(d, static_cast<A>(highest));
  CotangentSums sums;
  for_strips(n, [&](std::int64_t begin, std::size_t size) METTLE_LANES {
    auto plain = hn::Zero(d);
    sums.weighted += sum_lanes(d, size, [&](std::size_t i, auto span) METTLE_LANES {
      const auto along = load(d, u + begin + i, span);
      plain = hn::Add(plain, along);  // missing lanes are zeros
      return hn::Mul(along, exp_of_nonpositive(d, hn::Sub(load(d, z + begin + i, span), shift)));
    });
    sums.plain += sum(d, plain);
  });
  sums.weighted *= inverse;
  return sums;
}

/// dz2 = slope p (u - t) of one row; dz2 may be u.
template <class T>
void double_backward_row(const T* z, const T* u, std::int64_t n, double highest, double inverse,
                         double slope, double t, T* dz2) {
  using A = accumulate_t<T>;
  const hn::ScalableTag<A> d;
  const auto shift = hn::Set(d, static_cast<A>(highest)), mean = hn::Set(d, static_cast<A>(t));
  const auto scale = hn::Set(d, static_cast<A>(slope * inverse));
  for_lanes(d, static_cast<std::size_t>(n), [&](std::size_t j, auto span) METTLE_LANES {
    const auto e = exp_of_nonpositive(d, hn::Sub(load(d, z + j, span), shift));
    const auto along = hn::Sub(load(d, u + j, span), mean);
    store(d, hn::Mul(hn::Mul(e, scale), along), dz2 + j, span);
  });
}

/// Calls body(row) for every row.
template <class Body> void for_rows(const CrossEntropyRows& of, Body body) {
  parallel_for(of.rows, std::max<std::int64_t>(1, elements_per_task / of.classes),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) body(row);
               });
}

template <class T> void forward_typed(const CrossEntropyForwardArgs& a) {
  using A = accumulate_t<T>;
  const CrossEntropyTargets target(a.of);
  const std::int64_t classes = a.of.classes;
  const double eps = a.of.label_smoothing;
  for_rows(a.of, [&](std::int64_t row) {
    double loss = 0, highest = 0, inverse = 0;
    if (!target.ignored(row)) {
      const T* z = static_cast<const T*>(a.of.logits) + row * classes;
      const RowSums sums = row_sums(z, classes, eps > 0);
      highest = sums.highest;
      inverse = 1 / sums.exponentials;
      loss =
          std::log(sums.exponentials) + (1 - eps) * (highest - static_cast<double>(z[target[row]]));
      if (eps > 0) loss += eps * (highest - sums.logits / static_cast<double>(classes));
    }
    static_cast<A*>(a.loss)[row] = static_cast<A>(loss);
    if (a.highest) static_cast<A*>(a.highest)[row] = static_cast<A>(highest);
    if (a.inverse) static_cast<A*>(a.inverse)[row] = static_cast<A>(inverse);
  });
}

template <class T> void backward_typed(const CrossEntropyBackwardArgs& a) {
  using A = accumulate_t<T>;
  const CrossEntropyTargets target(a.of);
  for_rows(a.of, [&](std::int64_t row) {
    const std::int64_t at = row * a.of.classes;
    T* dz = static_cast<T*>(a.dlogits) + at;
    if (target.ignored(row)) {
      std::fill_n(dz, a.of.classes, static_cast<T>(0.0));
      return;
    }
    backward_row(a.of, static_cast<const T*>(a.of.logits) + at, target[row],
                 static_cast<const A*>(a.highest)[row], static_cast<const A*>(a.inverse)[row],
                 static_cast<const A*>(a.dloss)[row], dz);
  });
}

template <class T> void double_backward_typed(const CrossEntropyDoubleBackwardArgs& a) {
  using A = accumulate_t<T>;
  const CrossEntropyTargets target(a.of);
  const std::int64_t classes = a.of.classes;
  const double eps = a.of.label_smoothing;
  for_rows(a.of, [&](std::int64_t row) {
    const std::int64_t at = row * classes;
    T* dz2 = a.dlogits2 ? static_cast<T*>(a.dlogits2) + at : nullptr;
    A* ddloss = a.ddloss ? static_cast<A*>(a.ddloss) + row : nullptr;
    if (target.ignored(row)) {
      if (dz2) std::fill_n(dz2, classes, static_cast<T>(0.0));
      if (ddloss) *ddloss = 0;
      return;
    }
    const T *z = static_cast<const T*>(a.of.logits) + at,
            *u = static_cast<const T*>(a.ddlogits) + at;
    const double highest = static_cast<const A*>(a.highest)[row];
    const double inverse = static_cast<const A*>(a.inverse)[row];
    const CotangentSums sums = cotangent_sums(z, u, classes, highest, inverse);
    if (ddloss)
      *ddloss = static_cast<A>(sums.weighted - (1 - eps) * static_cast<double>(u[target[row]]) -
                               eps * sums.plain / static_cast<double>(classes));
    if (dz2)
      double_backward_row(z, u, classes, highest, inverse, static_cast<const A*>(a.dloss)[row],
                          sums.weighted, dz2);
  });
}

void forward(const CrossEntropyForwardArgs& a) {
  dispatch_float(
      a.of.dtype, [&]<class T>() { forward_typed<T>(a); }, "cross_entropy");
}
void backward(const CrossEntropyBackwardArgs& a) {
  dispatch_float(
      a.of.dtype, [&]<class T>() { backward_typed<T>(a); }, "cross_entropy");
}
void double_backward(const CrossEntropyDoubleBackwardArgs& a) {
  dispatch_float(
      a.of.dtype, [&]<class T>() { double_backward_typed<T>(a); }, "cross_entropy");
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

void register_cross_entropy() {
  cross_entropy_forward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const CrossEntropyForwardArgs& a) {
         HWY_DYNAMIC_DISPATCH(forward)(a);
       }});
  cross_entropy_backward.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const CrossEntropyBackwardArgs& a) {
         HWY_DYNAMIC_DISPATCH(backward)(a);
       }});
  cross_entropy_double_backward.add({"simd", DeviceType::cpu, 10, nullptr,
                                     [](const Stream&, const CrossEntropyDoubleBackwardArgs& a) {
                                       HWY_DYNAMIC_DISPATCH(double_backward)(a);
                                     }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
