// Attention double backward, variant "strip": twelve products per head, one exponential per score.
// With x, y, w = ddq, ddk, ddv, for each strip of query rows:
//   U = tau (x k^T + q y^T)     tangent of S        A = Z o (dout v^T)   D = rowsum(P o A)
//   B = Z o (dout w^T)          tangent of A        u = rowsum(P o U)
//   T = Z o P o (U - u)         ddout = T v + (Z o P) w
//   E = P o (A - D)             Dd = rowsum(P o [(U - u) o A + B])  ( = rowsum(dout o ddout) )
//   F = P o [(U - u) o (A - D) + B - Dd]
//   dq2 = tau (F k + E y)       dk2 += tau (F^T q + E^T x)       dv2 += T^T dout
// A strip sees whole rows, so U is centred before any product is formed: nothing cancels late, and
// D, u, Dd need no second sweep. Derivation: docs/attention-double-backward.md.
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_double_backward.cpp"
#include <hwy/foreach_target.h>

#include "engine/parallel.h"
#include "kernels/cpu/attention_score_strips-inl.h"
#include "kernels/cpu/attention_sums-inl.h"
#include "kernels/cpu/attention_variants.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

template <class T> class DoubleBackwardStrips {
 public:
  explicit DoubleBackwardStrips(const AttentionDoubleBackwardArgs& args)
      : args_(args),
        p_(args.problem),
        d_(padded<T>(p_.head_dim)),
        dv_(padded<T>(p_.value_dim)),
        scores_(p_, args.q, args.k, args.ddq, args.ddk),
        stride_(scores_.stride()),
        v_t_(transposed_size<T>(p_.keys, p_.value_dim)),
        w_t_(transposed_size<T>(p_.keys, p_.value_dim)),
        k_(p_.keys * d_),
        y_(p_.keys * d_),
        v_(p_.keys * dv_),
        w_(p_.keys * dv_),
        line_(dv_),
        g_(strip_rows(p_) * dv_),
        a_strip_(strip_rows(p_) * stride_),
        b_strip_(strip_rows(p_) * stride_),
        rows_(strip_rows(p_) * std::max(d_, dv_)),
        bias_(p_),
        dropout_(p_) {}

  // Adds to dk2, dv2: sums of the stretch, rows padded.
  void run(const Stretch& at, T* dk2, T* dv2) {
    if (at.first == at.last) return;
    at_ = at;
    load_keys(visible_keys(p_, at.last - 1));
    bias_.start_head(at);
    for (std::int64_t i = at.first; i < at.last; i += strip_rows(p_)) {
      const std::int64_t count = std::min(strip_rows(p_), at.last - i);
      const std::int64_t cols = visible_keys(p_, i + count - 1);
      fill_strips(i, count, cols);
      for (std::int64_t r = 0; r < count; ++r) differentiate(i + r, cols, r * stride_);
      add_to_keys(count, cols, dk2, dv2);
      write_rows(i, count, cols);
    }
  }

 private:
  using Left = LeftOperand<T>;

  void load_keys(std::int64_t seen) {
    scores_.load_keys(at_, seen);
    load_rows(p_.dtype, args_.k, at_, 0, seen, p_.head_dim, k_.data());
    if (args_.ddk.data) load_rows(p_.dtype, args_.ddk, at_, 0, seen, p_.head_dim, y_.data());
    load_values(args_.v, seen, v_t_, v_);
    if (args_.ddv.data) load_values(args_.ddv, seen, w_t_, w_);
  }

  void load_values(AttentionIn x, std::int64_t seen, const WorkBuffer<T>& transposed,
                   const WorkBuffer<T>& rows) {
    load_transposed(p_.dtype, x, at_, seen, p_.value_dim, T(1), line_.data(), transposed.data());
    load_rows(p_.dtype, x, at_, 0, seen, p_.value_dim, rows.data());
  }

  // S, U, dout v^T, dout w^T; zeros where the cotangents are absent.
  void fill_strips(std::int64_t first, std::int64_t count, std::int64_t cols) {
    scores_.fill(first, count, cols);
    load_rows(p_.dtype, args_.dout, at_, first, count, p_.value_dim, g_.data());
    const Left g{g_.data(), dv_, 1};
    const auto v_t = in_panels(v_t_.data(), p_.value_dim),
               w_t = in_panels(w_t_.data(), p_.value_dim);
    product<false>(count, cols, p_.value_dim, g, v_t, a_strip_.data(), stride_);
    std::fill_n(b_strip_.data(), count * stride_, T(0));
    if (args_.ddv.data) product<true>(count, cols, p_.value_dim, g, w_t, b_strip_.data(), stride_);
  }

  // One row of the strips: (S, U, dout v^T, dout w^T) -> (Z o P, T, E, F).
  void differentiate(std::int64_t i, std::int64_t cols, std::int64_t offset) {
    const Simd<T> d;
    T* s = scores_.s() + offset;
    T* u = scores_.u() + offset;
    T* a = &a_strip_[offset];
    T* b = &b_strip_[offset];
    const T* bias = bias_.row(i, cols);
    const T* keep = dropout_.row(at_, i, cols);
    const auto lse = hn::Set(d, row_lse<T>(args_, at_, i));
    auto sum_a = hn::Zero(d), sum_u = hn::Zero(d), sum_b = hn::Zero(d);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto score = hn::Add(hn::LoadU(d, s + j), hn::LoadU(d, bias + j));
      const auto p = exp2<T>(hn::Sub(score, lse));
      const auto z = hn::LoadU(d, keep + j);
      const auto za = hn::Mul(z, hn::LoadU(d, a + j));
      hn::StoreU(p, d, s + j);
      hn::StoreU(za, d, a + j);
      hn::StoreU(hn::Mul(z, hn::LoadU(d, b + j)), d, b + j);
      sum_a = hn::MulAdd(p, za, sum_a);
      sum_u = hn::MulAdd(p, hn::LoadU(d, u + j), sum_u);
    }
    const auto row_d = hn::SumOfLanes(d, sum_a), row_u = hn::SumOfLanes(d, sum_u);
    const auto unit = hn::Set(d, ln2<T>);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto centred_u = hn::Mul(hn::Sub(hn::LoadU(d, u + j), row_u), unit);
      const auto tangent = hn::MulAdd(centred_u, hn::LoadU(d, a + j), hn::LoadU(d, b + j));
      hn::StoreU(centred_u, d, u + j);
      sum_b = hn::MulAdd(hn::LoadU(d, s + j), tangent, sum_b);
    }
    const auto row_dd = hn::SumOfLanes(d, sum_b);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto p = hn::LoadU(d, s + j), centred_u = hn::LoadU(d, u + j);
      const auto centred_a = hn::Sub(hn::LoadU(d, a + j), row_d);
      const auto tangent = hn::MulAdd(centred_u, centred_a, hn::Sub(hn::LoadU(d, b + j), row_dd));
      const auto zp = hn::Mul(p, hn::LoadU(d, keep + j));
      hn::StoreU(zp, d, s + j);
      hn::StoreU(hn::Mul(zp, centred_u), d, u + j);
      hn::StoreU(hn::Mul(p, centred_a), d, a + j);
      hn::StoreU(hn::Mul(p, tangent), d, b + j);
    }
  }

  void add_to_keys(std::int64_t count, std::int64_t cols, T* dk2, T* dv2) {
    const auto transposed = [&](const T* strip) { return Left{strip, 1, stride_}; };
    if (args_.dv2.data && scores_.moves())
      product<true>(cols, p_.value_dim, count, transposed(scores_.u()), row_major(g_.data(), dv_),
                    dv2, dv_);
    if (!args_.dk2.data) return;
    product<true>(cols, p_.head_dim, count, transposed(b_strip_.data()), row_major(scores_.q(), d_),
                  dk2, d_);
    if (args_.ddq.data)
      product<true>(cols, p_.head_dim, count, transposed(a_strip_.data()),
                    row_major(scores_.x(), d_), dk2, d_);
  }

  void write_rows(std::int64_t first, std::int64_t count, std::int64_t cols) {
    const auto strip = [&](const T* of) { return Left{of, stride_, 1}; };
    if (args_.ddout.data) {
      std::fill_n(rows_.data(), count * dv_, T(0));
      if (scores_.moves())
        product<true>(count, p_.value_dim, cols, strip(scores_.u()), row_major(v_.data(), dv_),
                      rows_.data(), dv_);
      if (args_.ddv.data)
        product<true>(count, p_.value_dim, cols, strip(scores_.s()), row_major(w_.data(), dv_),
                      rows_.data(), dv_);
      store_rows(p_.dtype, rows_.data(), args_.ddout, at_, first, count, p_.value_dim, T(1));
    }
    if (!args_.dq2.data) return;
    product<false>(count, p_.head_dim, cols, strip(b_strip_.data()), row_major(k_.data(), d_),
                   rows_.data(), d_);
    if (args_.ddk.data)
      product<true>(count, p_.head_dim, cols, strip(a_strip_.data()), row_major(y_.data(), d_),
                    rows_.data(), d_);
    store_rows(p_.dtype, rows_.data(), args_.dq2, at_, first, count, p_.head_dim,
               static_cast<T>(p_.scale));
  }

  const AttentionDoubleBackwardArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t d_, dv_;
  ScoreStrips<T> scores_;
  const std::int64_t stride_;  // of all strips
  const WorkBuffer<T> v_t_, w_t_, k_, y_, v_, w_, line_, g_, a_strip_, b_strip_, rows_;
  BiasRow<T> bias_;
  DropoutRow<T> dropout_;
};

template <class T> void double_backward_of(const AttentionDoubleBackwardArgs& args) {
  const Plan plan(args.problem, 12);
  const KeySums<T> sums(args.problem, args.dk2, args.dv2);
  run_with_key_sums<T, DoubleBackwardStrips<T>>(args, plan, sums);
}

void double_backward(const AttentionDoubleBackwardArgs& args) {
  args.problem.dtype == DType::f64 ? double_backward_of<double>(args)
                                   : double_backward_of<float>(args);
}

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu::attention {

HWY_EXPORT(double_backward);

void double_backward_strip(const Stream&, const AttentionDoubleBackwardArgs& args) {
  check_call(args, "attention_double_backward");
  HWY_DYNAMIC_DISPATCH(double_backward)(args);
}

}  // namespace mettle::kernels::cpu::attention
#endif
