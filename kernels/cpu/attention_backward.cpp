// Attention backward, variant "strip": five products per head. For each strip of query rows
//   P = exp(S - lse)   A = Z o (dout v^T)   D = rowsum(P o A)   E = P o (A - D)
//   dq = tau E k       dk += tau E^T q      dv += (Z o P)^T dout
// D comes from the strip itself, so that rows of E sum to 0 however `out` was rounded. dk and dv
// are summed over the strips of a head in order: no atomics, the same bits for any number of
// threads.
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>

#include "engine/parallel.h"
#include "kernels/cpu/attention_rows-inl.h"
#include "kernels/cpu/attention_sums-inl.h"
#include "kernels/cpu/attention_variants.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

template <class T> class BackwardStrips {
 public:
  explicit BackwardStrips(const AttentionBackwardArgs& args)
      : args_(args),
        p_(args.problem),
        d_(padded<T>(p_.head_dim)),
        dv_(padded<T>(p_.value_dim)),
        stride_(strip_stride<T>(p_)),
        keys_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        values_t_(transposed_size<T>(p_.keys, p_.value_dim)),
        keys_(p_.keys * d_),
        line_(std::max(d_, dv_)),
        q_(strip_rows(p_) * d_),
        g_(strip_rows(p_) * dv_),
        zp_(strip_rows(p_) * stride_),
        e_(strip_rows(p_) * stride_),
        dq_(strip_rows(p_) * d_),
        bias_(p_),
        dropout_(p_) {}

  // Adds to dk, dv: sums of the stretch, rows padded.
  void run(const Stretch& at, T* dk, T* dv) {
    if (at.first == at.last) return;
    at_ = at;
    const std::int64_t seen = visible_keys(p_, at.last - 1);
    load_transposed(p_.dtype, args_.k, at, seen, p_.head_dim, static_cast<T>(p_.scale) * log2e<T>,
                    line_.data(), keys_t_.data());
    load_transposed(p_.dtype, args_.v, at, seen, p_.value_dim, T(1), line_.data(),
                    values_t_.data());
    load_rows(p_.dtype, args_.k, at, 0, seen, p_.head_dim, keys_.data());
    bias_.start_head(at);
    for (std::int64_t i = at.first; i < at.last; i += strip_rows(p_))
      strip(i, std::min(strip_rows(p_), at.last - i), dk, dv);
  }

 private:
  void strip(std::int64_t first, std::int64_t count, T* dk, T* dv) {
    const std::int64_t cols = visible_keys(p_, first + count - 1);
    load_rows(p_.dtype, args_.q, at_, first, count, p_.head_dim, q_.data());
    load_rows(p_.dtype, args_.dout, at_, first, count, p_.value_dim, g_.data());
    product<false>(count, cols, p_.head_dim, LeftOperand<T>{q_.data(), d_, 1},
                   in_panels(keys_t_.data(), p_.head_dim), zp_.data(), stride_);
    product<false>(count, cols, p_.value_dim, LeftOperand<T>{g_.data(), dv_, 1},
                   in_panels(values_t_.data(), p_.value_dim), e_.data(), stride_);
    for (std::int64_t i = 0; i < count; ++i) {
      T *scores = &zp_[i * stride_], *a = &e_[i * stride_];
      dropout_.drops() ? differentiate<true>(first + i, cols, scores, a)
                       : differentiate<false>(first + i, cols, scores, a);
    }
    if (args_.dv.data)
      product<true>(cols, p_.value_dim, count, LeftOperand<T>{zp_.data(), 1, stride_},
                    row_major(g_.data(), dv_), dv, dv_);
    if (args_.dk.data)
      product<true>(cols, p_.head_dim, count, LeftOperand<T>{e_.data(), 1, stride_},
                    row_major(q_.data(), d_), dk, d_);
    if (!args_.dq.data) return;
    product<false>(count, p_.head_dim, cols, LeftOperand<T>{e_.data(), stride_, 1},
                   row_major(keys_.data(), d_), dq_.data(), d_);
    store_rows(p_.dtype, dq_.data(), args_.dq, at_, first, count, p_.head_dim,
               static_cast<T>(p_.scale));
  }

  // One row: scores -> Z o P and dout v^T -> E, with Z = 1 unless something drops.
  template <bool Drops> void differentiate(std::int64_t i, std::int64_t cols, T* scores, T* a) {
    const Simd<T> d;
    const T* bias = bias_.row(i, cols);
    [[maybe_unused]] const T* keep = Drops ? dropout_.row(at_, i, cols) : nullptr;
    const auto lse = hn::Set(d, row_lse<T>(args_, at_, i));
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto s = hn::Add(hn::LoadU(d, scores + j), hn::LoadU(d, bias + j));
      const auto p = exp2<T>(hn::Sub(s, lse));
      auto za = hn::LoadU(d, a + j);
      if constexpr (Drops) {
        za = hn::Mul(hn::LoadU(d, keep + j), za);
        hn::StoreU(za, d, a + j);
      }
      hn::StoreU(p, d, scores + j);
      sum = hn::MulAdd(p, za, sum);
    }
    const auto row_d = hn::SumOfLanes(d, sum);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto p = hn::LoadU(d, scores + j);
      hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(d, a + j), row_d)), d, a + j);
      if constexpr (Drops) hn::StoreU(hn::Mul(p, hn::LoadU(d, keep + j)), d, scores + j);
    }
  }

  const AttentionBackwardArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t d_, dv_, stride_;
  const WorkBuffer<T> keys_t_, values_t_, keys_, line_, q_, g_, zp_, e_, dq_;
  BiasRow<T> bias_;
  DropoutRow<T> dropout_;
};

template <class T> void backward_of(const AttentionBackwardArgs& args) {
  const Plan plan(args.problem, 5);
  const KeySums<T> sums(args.problem, args.dk, args.dv);
  run_with_key_sums<T, BackwardStrips<T>>(args, plan, sums);
}

void backward(const AttentionBackwardArgs& args) {
  args.problem.dtype == DType::f64 ? backward_of<double>(args) : backward_of<float>(args);
}

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu::attention {

HWY_EXPORT(backward);

void backward_strip(const Stream&, const AttentionBackwardArgs& args) {
  check_call(args, "attention_backward");
  HWY_DYNAMIC_DISPATCH(backward)(args);
}

}  // namespace mettle::kernels::cpu::attention
#endif
