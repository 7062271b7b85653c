// Attention's forward-mode derivative, variant "strip": five products per head, one exponential per
// score. With x, y, w the tangents of q, k, v, for each strip of query rows:
//   U = tau (x k^T + q y^T)     u = rowsum(P o U)     tangent_out = (Z o P o (U - u)) v + (Z o P) w
// It is what the double backward makes of its cotangents for ddout, and needs no cotangent of out.
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_jvp.cpp"
#include <hwy/foreach_target.h>

#include "engine/parallel.h"
#include "kernels/cpu/attention_rows-inl.h"
#include "kernels/cpu/attention_variants.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

template <class T> class JvpStrips {
 public:
  explicit JvpStrips(const AttentionJvpArgs& args)
      : args_(args),
        p_(args.problem),
        d_(padded<T>(p_.head_dim)),
        dv_(padded<T>(p_.value_dim)),
        stride_(strip_stride<T>(p_)),
        k_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        y_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        v_(p_.keys * dv_),
        w_(p_.keys * dv_),
        line_(d_),
        q_(strip_rows(p_) * d_),
        x_(strip_rows(p_) * d_),
        scores_(strip_rows(p_) * stride_),
        u_strip_(strip_rows(p_) * stride_),
        rows_(strip_rows(p_) * dv_),
        bias_(p_),
        dropout_(p_) {}

  void run(const Stretch& at) {
    if (at.first == at.last) return;
    at_ = at;
    load_keys(visible_keys(p_, at.last - 1));
    bias_.start_head(at);
    for (std::int64_t i = at.first; i < at.last; i += strip_rows(p_)) {
      const std::int64_t count = std::min(strip_rows(p_), at.last - i);
      const std::int64_t cols = visible_keys(p_, i + count - 1);
      fill_strips(i, count, cols);
      for (std::int64_t r = 0; r < count; ++r) differentiate(i + r, cols, r * stride_);
      write_rows(i, count, cols);
    }
  }

 private:
  using Left = LeftOperand<T>;
  bool has_u() const { return args_.tangent_q.data || args_.tangent_k.data; }

  void load_keys(std::int64_t seen) {
    const T factor = static_cast<T>(p_.scale) * log2e<T>;
    load_transposed(p_.dtype, args_.k, at_, seen, p_.head_dim, factor, line_.data(), k_t_.data());
    if (args_.tangent_k.data)
      load_transposed(p_.dtype, args_.tangent_k, at_, seen, p_.head_dim, factor, line_.data(),
                      y_t_.data());
    load_rows(p_.dtype, args_.v, at_, 0, seen, p_.value_dim, v_.data());
    if (args_.tangent_v.data)
      load_rows(p_.dtype, args_.tangent_v, at_, 0, seen, p_.value_dim, w_.data());
  }

  // S and U, both in units of ln 2; zeros where the tangents are absent.
  void fill_strips(std::int64_t first, std::int64_t count, std::int64_t cols) {
    load_rows(p_.dtype, args_.q, at_, first, count, p_.head_dim, q_.data());
    const Left q{q_.data(), d_, 1}, x{x_.data(), d_, 1};
    const auto k_t = in_panels(k_t_.data(), p_.head_dim), y_t = in_panels(y_t_.data(), p_.head_dim);
    product<false>(count, cols, p_.head_dim, q, k_t, scores_.data(), stride_);
    std::fill_n(u_strip_.data(), count * stride_, T(0));
    if (args_.tangent_q.data) {
      load_rows(p_.dtype, args_.tangent_q, at_, first, count, p_.head_dim, x_.data());
      product<true>(count, cols, p_.head_dim, x, k_t, u_strip_.data(), stride_);
    }
    if (args_.tangent_k.data)
      product<true>(count, cols, p_.head_dim, q, y_t, u_strip_.data(), stride_);
  }

  // One row of the strips: (S, U) -> (Z o P, Z o P o (U - u)).
  void differentiate(std::int64_t i, std::int64_t cols, std::int64_t offset) {
    const Simd<T> d;
    T* s = &scores_[offset];
    T* u = &u_strip_[offset];
    const T* bias = bias_.row(i, cols);
    const T* keep = dropout_.row(at_, i, cols);
    const auto lse = hn::Set(d, row_lse<T>(args_, at_, i));
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto p = exp2<T>(hn::Sub(hn::Add(hn::LoadU(d, s + j), hn::LoadU(d, bias + j)), lse));
      hn::StoreU(p, d, s + j);
      sum = hn::MulAdd(p, hn::LoadU(d, u + j), sum);
    }
    const auto row_u = hn::SumOfLanes(d, sum), unit = hn::Set(d, ln2<T>);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto zp = hn::Mul(hn::LoadU(d, s + j), hn::LoadU(d, keep + j));
      hn::StoreU(zp, d, s + j);
      hn::StoreU(hn::Mul(zp, hn::Mul(hn::Sub(hn::LoadU(d, u + j), row_u), unit)), d, u + j);
    }
  }

  void write_rows(std::int64_t first, std::int64_t count, std::int64_t cols) {
    const Left zp{scores_.data(), stride_, 1}, t{u_strip_.data(), stride_, 1};
    std::fill_n(rows_.data(), count * dv_, T(0));
    if (has_u())
      product<true>(count, p_.value_dim, cols, t, row_major(v_.data(), dv_), rows_.data(), dv_);
    if (args_.tangent_v.data)
      product<true>(count, p_.value_dim, cols, zp, row_major(w_.data(), dv_), rows_.data(), dv_);
    store_rows(p_.dtype, rows_.data(), args_.tangent_out, at_, first, count, p_.value_dim, T(1));
  }

  const AttentionJvpArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t d_, dv_, stride_;
  const WorkBuffer<T> k_t_, y_t_, v_, w_, line_, q_, x_, scores_, u_strip_, rows_;
  BiasRow<T> bias_;
  DropoutRow<T> dropout_;
};

template <class T> void jvp_of(const AttentionJvpArgs& args) {
  const Plan plan(args.problem, 5);
  parallel_for(plan.tasks(), plan.chunk(), [&](std::int64_t begin, std::int64_t end) {
    JvpStrips<T> strips(args);
    for (std::int64_t task = begin; task < end; ++task) strips.run(plan[task]);
  });
}

void jvp(const AttentionJvpArgs& args) {
  args.problem.dtype == DType::f64 ? jvp_of<double>(args) : jvp_of<float>(args);
}

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu::attention {

HWY_EXPORT(jvp);

void jvp_strip(const Stream&, const AttentionJvpArgs& args) {
  check_call(args, "attention_jvp");
  if (!args.tangent_out.data) return;
  HWY_DYNAMIC_DISPATCH(jvp)(args);
}

}  // namespace mettle::kernels::cpu::attention
#endif
