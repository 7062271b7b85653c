// Attention's forward-mode derivative, variant "strip": five products per head, one exponential per
// score. With x, y, w the tangents of q, k, v, for each strip of query rows:
//   U = tau (x k^T + q y^T)     u = rowsum(P o U)     tangent_out = (Z o P o (U - u)) v + (Z o P) w
// It is what the double backward makes of its cotangents for ddout, and needs no cotangent of out.
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_jvp.cpp"
#include <hwy/foreach_target.h>

#include "engine/parallel.h"
#include "kernels/cpu/attention_score_strips-inl.h"
#include "kernels/cpu/attention_variants.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

template <class T> class JvpStrips {
 public:
  explicit JvpStrips(const AttentionJvpArgs& args)
      : args_(args),
        p_(args.problem),
        dv_(padded<T>(p_.value_dim)),
        scores_(p_, args.q, args.k, args.tangent_q, args.tangent_k),
        v_(p_.keys * dv_),
        w_(p_.keys * dv_),
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
      scores_.fill(i, count, cols);
      for (std::int64_t r = 0; r < count; ++r) differentiate(i + r, cols, r * scores_.stride());
      write_rows(i, count, cols);
    }
  }

 private:
  using Left = LeftOperand<T>;

  void load_keys(std::int64_t seen) {
    scores_.load_keys(at_, seen);
    load_rows(p_.dtype, args_.v, at_, 0, seen, p_.value_dim, v_.data());
    if (args_.tangent_v.data)
      load_rows(p_.dtype, args_.tangent_v, at_, 0, seen, p_.value_dim, w_.data());
  }

  // One row of the strips: (S, U) -> (Z o P, Z o P o (U - u)).
  void differentiate(std::int64_t i, std::int64_t cols, std::int64_t offset) {
    const Simd<T> d;
    T* s = scores_.s() + offset;
    T* u = scores_.u() + offset;
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
    const Left zp{scores_.s(), scores_.stride(), 1}, t{scores_.u(), scores_.stride(), 1};
    std::fill_n(rows_.data(), count * dv_, T(0));
    if (scores_.moves())
      product<true>(count, p_.value_dim, cols, t, row_major(v_.data(), dv_), rows_.data(), dv_);
    if (args_.tangent_v.data)
      product<true>(count, p_.value_dim, cols, zp, row_major(w_.data(), dv_), rows_.data(), dv_);
    store_rows(p_.dtype, rows_.data(), args_.tangent_out, at_, first, count, p_.value_dim, T(1));
  }

  const AttentionJvpArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t dv_;
  ScoreStrips<T> scores_;
  const WorkBuffer<T> v_, w_, rows_;
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
