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
#include "kernels/cpu/attention_rows-inl.h"
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
        stride_(strip_stride<T>(p_)),
        k_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        y_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        v_t_(transposed_size<T>(p_.keys, p_.value_dim)),
        w_t_(transposed_size<T>(p_.keys, p_.value_dim)),
        k_(p_.keys * d_),
        y_(p_.keys * d_),
        v_(p_.keys * dv_),
        w_(p_.keys * dv_),
        line_(std::max(d_, dv_)),
        q_(strip_rows(p_) * d_),
        x_(strip_rows(p_) * d_),
        g_(strip_rows(p_) * dv_),
        scores_(strip_rows(p_) * stride_),
        u_strip_(strip_rows(p_) * stride_),
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
  bool has_u() const { return args_.ddq.data || args_.ddk.data; }

  void load_keys(std::int64_t seen) {
    const T factor = static_cast<T>(p_.scale) * log2e<T>;
    load_keys_of(args_.k, p_.head_dim, factor, seen, k_t_, k_);
    load_keys_of(args_.v, p_.value_dim, T(1), seen, v_t_, v_);
    if (args_.ddk.data) load_keys_of(args_.ddk, p_.head_dim, factor, seen, y_t_, y_);
    if (args_.ddv.data) load_keys_of(args_.ddv, p_.value_dim, T(1), seen, w_t_, w_);
  }

  void load_keys_of(AttentionIn x, std::int64_t cols, T factor, std::int64_t seen,
                    const WorkBuffer<T>& transposed, const WorkBuffer<T>& rows) {
    load_transposed(p_.dtype, x, at_, seen, cols, factor, line_.data(), transposed.data());
    load_rows(p_.dtype, x, at_, 0, seen, cols, rows.data());
  }

  // S, U, dout v^T, dout w^T; zeros where the cotangents are absent. U is in units of ln 2, like S.
  void fill_strips(std::int64_t first, std::int64_t count, std::int64_t cols) {
    load_rows(p_.dtype, args_.q, at_, first, count, p_.head_dim, q_.data());
    load_rows(p_.dtype, args_.dout, at_, first, count, p_.value_dim, g_.data());
    const Left q{q_.data(), d_, 1}, x{x_.data(), d_, 1}, g{g_.data(), dv_, 1};
    const auto k_t = in_panels(k_t_.data(), p_.head_dim), y_t = in_panels(y_t_.data(), p_.head_dim);
    const auto v_t = in_panels(v_t_.data(), p_.value_dim),
               w_t = in_panels(w_t_.data(), p_.value_dim);
    product<false>(count, cols, p_.head_dim, q, k_t, scores_.data(), stride_);
    product<false>(count, cols, p_.value_dim, g, v_t, a_strip_.data(), stride_);
    std::fill_n(u_strip_.data(), count * stride_, T(0));
    if (args_.ddq.data) {
      load_rows(p_.dtype, args_.ddq, at_, first, count, p_.head_dim, x_.data());
      product<true>(count, cols, p_.head_dim, x, k_t, u_strip_.data(), stride_);
    }
    if (args_.ddk.data) product<true>(count, cols, p_.head_dim, q, y_t, u_strip_.data(), stride_);
    std::fill_n(b_strip_.data(), count * stride_, T(0));
    if (args_.ddv.data) product<true>(count, cols, p_.value_dim, g, w_t, b_strip_.data(), stride_);
  }

  // One row of the strips: (S, U, dout v^T, dout w^T) -> (Z o P, T, E, F).
  void differentiate(std::int64_t i, std::int64_t cols, std::int64_t offset) {
    const Simd<T> d;
    T* s = &scores_[offset];
    T* u = &u_strip_[offset];
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
    const auto transposed = [&](const WorkBuffer<T>& strip) {
      return Left{strip.data(), 1, stride_};
    };
    if (args_.dv2.data && has_u())
      product<true>(cols, p_.value_dim, count, transposed(u_strip_), row_major(g_.data(), dv_), dv2,
                    dv_);
    if (!args_.dk2.data) return;
    product<true>(cols, p_.head_dim, count, transposed(b_strip_), row_major(q_.data(), d_), dk2,
                  d_);
    if (args_.ddq.data)
      product<true>(cols, p_.head_dim, count, transposed(a_strip_), row_major(x_.data(), d_), dk2,
                    d_);
  }

  void write_rows(std::int64_t first, std::int64_t count, std::int64_t cols) {
    const auto strip = [&](const WorkBuffer<T>& s) { return Left{s.data(), stride_, 1}; };
    if (args_.ddout.data) {
      std::fill_n(rows_.data(), count * dv_, T(0));
      if (has_u())
        product<true>(count, p_.value_dim, cols, strip(u_strip_), row_major(v_.data(), dv_),
                      rows_.data(), dv_);
      if (args_.ddv.data)
        product<true>(count, p_.value_dim, cols, strip(scores_), row_major(w_.data(), dv_),
                      rows_.data(), dv_);
      store_rows(p_.dtype, rows_.data(), args_.ddout, at_, first, count, p_.value_dim, T(1));
    }
    if (!args_.dq2.data) return;
    product<false>(count, p_.head_dim, cols, strip(b_strip_), row_major(k_.data(), d_),
                   rows_.data(), d_);
    if (args_.ddk.data)
      product<true>(count, p_.head_dim, cols, strip(a_strip_), row_major(y_.data(), d_),
                    rows_.data(), d_);
    store_rows(p_.dtype, rows_.data(), args_.dq2, at_, first, count, p_.head_dim,
               static_cast<T>(p_.scale));
  }

  const AttentionDoubleBackwardArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t d_, dv_, stride_;
  const WorkBuffer<T> k_t_, y_t_, v_t_, w_t_, k_, y_, v_, w_, line_, q_, x_, g_;
  const WorkBuffer<T> scores_, u_strip_, a_strip_, b_strip_, rows_;
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
