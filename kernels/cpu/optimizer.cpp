// Optimizer steps and gradient norms on the CPU: all tensors in one parallel sweep over pieces of
// at most 32768 elements, so that many small tensors cost one visit to the thread pool. Every
// operand is read once and written once; memory is the limit.
#include "kernels/optimizer.h"

#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>

#include "engine/parallel.h"
#include "kernels/cpu/optimizer_check.h"
#include "kernels/cpu/optimizer_numbers.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

/// A list of tensors cut into pieces, which depend on the tensors' sizes only.
template <class Item> class Pieces {
 public:
  Pieces(const Item* items, std::int64_t count) : items_(items), count_(count), first_(count + 1) {
    std::int64_t elements = 0;
    first_.data()[0] = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      first_.data()[i + 1] = first_.data()[i] + (items[i].n + size - 1) / size;
      elements += items[i].n;
    }
    grain_ = std::max<std::int64_t>(
        1, elements_per_task * total() / std::max<std::int64_t>(elements, 1));
  }

  std::int64_t total() { return first_.data()[count_]; }

  /// Calls body(piece, item, begin, count) for every piece: elements [begin, begin + count) of the
  /// tensor of `item`.
  template <class Body> void for_each(Body body) {
    const std::int64_t* first = first_.data();
    parallel_for(total(), grain_, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t i = std::upper_bound(first, first + count_ + 1, begin) - first - 1;
      for (std::int64_t piece = begin; piece < end; ++piece) {
        while (piece >= first[i + 1]) ++i;
        const std::int64_t offset = (piece - first[i]) * size;
        body(piece, items_[i], offset, std::min(size, items_[i].n - offset));
      }
    });
  }

 private:
  static constexpr std::int64_t size = 32768;
  const Item* items_;
  std::int64_t count_;
  Scratch<std::int64_t> first_;  // [count + 1], number of the first piece of each tensor
  std::int64_t grain_;
};

template <class T>
void adam_piece(const AdamStepArgs& a, const AdamTensor& tensor, std::int64_t begin,
                std::int64_t count) {
  const hn::ScalableTag<T> d;
  const auto set = [&](double value) METTLE_LANES { return hn::Set(d, static_cast<T>(value)); };
  const auto step = static_cast<double>(tensor.step);
  const auto scale = set(a.gradient_scale), l2 = set(tensor.l2);
  const auto beta1 = set(a.beta1), rest1 = set(1 - a.beta1);
  const auto beta2 = set(a.beta2), rest2 = set(1 - a.beta2);
  const auto rate = set(tensor.lr / (1 - std::pow(a.beta1, step)));
  const auto unbias = set(1 / std::sqrt(1 - std::pow(a.beta2, step)));
  const auto eps = set(a.eps), shrink = set(1 - tensor.lr * tensor.decay);
  T* param = static_cast<T*>(tensor.param) + begin;
  const T* grad = static_cast<const T*>(tensor.grad) + begin;
  T *m = static_cast<T*>(tensor.m) + begin, *v = static_cast<T*>(tensor.v) + begin;
  for_lanes(d, static_cast<std::size_t>(count), [&](std::size_t i, auto span) METTLE_LANES {
    const auto before = load(d, param + i, span);
    const auto u = hn::MulAdd(l2, before, hn::Mul(scale, load(d, grad + i, span)));
    const auto m_new = hn::MulAdd(beta1, load(d, m + i, span), hn::Mul(rest1, u));
    const auto v_new = hn::MulAdd(beta2, load(d, v + i, span), hn::Mul(rest2, hn::Mul(u, u)));
    const auto move = hn::Div(m_new, hn::MulAdd(hn::Sqrt(v_new), unbias, eps));
    store(d, m_new, m + i, span);
    store(d, v_new, v + i, span);
    store(d, hn::NegMulAdd(rate, move, hn::Mul(shrink, before)), param + i, span);
  });
}

template <class T>
void sgd_piece(const SgdStepArgs& a, const SgdTensor& tensor, std::int64_t begin,
               std::int64_t count) {
  const hn::ScalableTag<T> d;
  const auto set = [&](double value) METTLE_LANES { return hn::Set(d, static_cast<T>(value)); };
  const auto scale = set(a.gradient_scale), l2 = set(tensor.l2), rate = set(tensor.lr);
  const auto momentum = set(a.momentum);
  T* param = static_cast<T*>(tensor.param) + begin;
  const T* grad = static_cast<const T*>(tensor.grad) + begin;
  T* velocity = tensor.velocity ? static_cast<T*>(tensor.velocity) + begin : nullptr;
  for_lanes(d, static_cast<std::size_t>(count), [&](std::size_t i, auto span) METTLE_LANES {
    const auto before = load(d, param + i, span);
    auto move = hn::MulAdd(l2, before, hn::Mul(scale, load(d, grad + i, span)));
    if (velocity) {
      const auto v_new = hn::MulAdd(momentum, load(d, velocity + i, span), move);
      store(d, v_new, velocity + i, span);
      move = a.nesterov ? hn::MulAdd(momentum, v_new, move) : v_new;
    }
    store(d, hn::NegMulAdd(rate, move, before), param + i, span);
  });
}

/// Any float dtype as f64.
template <class D, class T, class S> HWY_INLINE hn::Vec<D> load_f64(D d, const T* p, S span) {
  if constexpr (std::is_same_v<T, double>) {
    return load(d, p, span);
  } else {
    return hn::PromoteTo(d, load(hn::Rebind<float, D>(), p, span));
  }
}

template <class T> double square_sum(const T* x, std::int64_t count) {
  const hn::ScalableTag<double> d;
  return sum_lanes(d, static_cast<std::size_t>(count), [&](std::size_t i, auto span) METTLE_LANES {
    const auto value = load_f64(d, x + i, span);
    return hn::Mul(value, value);
  });
}

template <class T> void norm_typed(const GlobalNormArgs& a) {
  Pieces<NormTensor> pieces(a.tensors, a.count);
  Scratch<double> partial(pieces.total());
  double* sums = partial.data();
  pieces.for_each(
      [&](std::int64_t piece, const NormTensor& tensor, std::int64_t begin, std::int64_t count) {
        sums[piece] = square_sum(static_cast<const T*>(tensor.data) + begin, count);
      });
  double total = 0;
  for (std::int64_t i = 0; i < pieces.total(); ++i) total += sums[i];
  *a.norm = std::sqrt(total);
}

template <class T> void adam_typed(const AdamStepArgs& a) {
  Pieces<AdamTensor>(a.tensors, a.count)
      .for_each([&](std::int64_t, const AdamTensor& tensor, std::int64_t begin,
                    std::int64_t count) { adam_piece<T>(a, tensor, begin, count); });
}

template <class T> void sgd_typed(const SgdStepArgs& a) {
  Pieces<SgdTensor>(a.tensors, a.count)
      .for_each([&](std::int64_t, const SgdTensor& tensor, std::int64_t begin, std::int64_t count) {
        sgd_piece<T>(a, tensor, begin, count);
      });
}

void adam(const AdamStepArgs& a) {
  a.dtype == DType::f64 ? adam_typed<double>(a) : adam_typed<float>(a);
}
void sgd(const SgdStepArgs& a) {
  a.dtype == DType::f64 ? sgd_typed<double>(a) : sgd_typed<float>(a);
}
void norm(const GlobalNormArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { norm_typed<T>(a); }, "global_norm");
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {
HWY_EXPORT(adam);
HWY_EXPORT(sgd);
HWY_EXPORT(norm);
}  // namespace

void register_optimizer() {
  adam_step.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const AdamStepArgs& a) {
         check_step(a);
         with_numbers<AdamTensor>(a, [](const AdamStepArgs& b) { HWY_DYNAMIC_DISPATCH(adam)(b); });
       }});
  sgd_step.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const SgdStepArgs& a) {
         check_step(a);
         with_numbers<SgdTensor>(a, [](const SgdStepArgs& b) { HWY_DYNAMIC_DISPATCH(sgd)(b); });
       }});
  global_norm.add(
      {"simd", DeviceType::cpu, 10, nullptr, [](const Stream&, const GlobalNormArgs& a) {
         HWY_DYNAMIC_DISPATCH(norm)
         (a);
       }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
