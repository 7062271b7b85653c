// Strips of query rows of the scores and of their derivative, which the forward-mode derivative and
// the double backward begin with. Included once per SIMD target.
#if defined(METTLE_KERNELS_CPU_ATTENTION_SCORE_STRIPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_ATTENTION_SCORE_STRIPS_INL_H_
#undef METTLE_KERNELS_CPU_ATTENTION_SCORE_STRIPS_INL_H_
#else
#define METTLE_KERNELS_CPU_ATTENTION_SCORE_STRIPS_INL_H_
#endif

#include "kernels/cpu/attention_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

/// S = tau q k^T and U = tau (x k^T + q y^T), both in units of ln 2. x and y, tangents of q and k,
/// may be absent and count as zeros then.
template <class T> class ScoreStrips {
 public:
  ScoreStrips(const AttentionProblem& problem, AttentionIn q, AttentionIn k, AttentionIn x,
              AttentionIn y)
      : p_(problem),
        q_in_(q),
        k_in_(k),
        x_in_(x),
        y_in_(y),
        d_(padded<T>(problem.head_dim)),
        stride_(strip_stride<T>(problem)),
        k_t_(transposed_size<T>(problem.keys, problem.head_dim)),
        y_t_(transposed_size<T>(problem.keys, problem.head_dim)),
        line_(d_),
        q_(strip_rows(problem) * d_),
        x_(strip_rows(problem) * d_),
        s_(strip_rows(problem) * stride_),
        u_(strip_rows(problem) * stride_) {}

  /// Whether U is more than zeros.
  bool moves() const { return x_in_.data || y_in_.data; }
  std::int64_t stride() const { return stride_; }  // between rows of s() and u()
  T* s() const { return s_.data(); }
  T* u() const { return u_.data(); }
  const T* q() const { return q_.data(); }  // of the strip, rows padded<T>(head_dim) apart
  const T* x() const { return x_.data(); }  // not set where x is absent

  /// Keys [0, seen) of the stretch's head.
  void load_keys(const Stretch& at, std::int64_t seen) {
    at_ = at;
    const T factor = static_cast<T>(p_.scale) * log2e<T>;
    load_transposed(p_.dtype, k_in_, at, seen, p_.head_dim, factor, line_.data(), k_t_.data());
    if (y_in_.data)
      load_transposed(p_.dtype, y_in_, at, seen, p_.head_dim, factor, line_.data(), y_t_.data());
  }

  /// Rows [first, first + count) for the keys [0, cols).
  void fill(std::int64_t first, std::int64_t count, std::int64_t cols) {
    load_rows(p_.dtype, q_in_, at_, first, count, p_.head_dim, q_.data());
    const LeftOperand<T> q{q_.data(), d_, 1}, x{x_.data(), d_, 1};
    const auto k_t = in_panels(k_t_.data(), p_.head_dim), y_t = in_panels(y_t_.data(), p_.head_dim);
    product<false>(count, cols, p_.head_dim, q, k_t, s_.data(), stride_);
    std::fill_n(u_.data(), count * stride_, T(0));
    if (x_in_.data) {
      load_rows(p_.dtype, x_in_, at_, first, count, p_.head_dim, x_.data());
      product<true>(count, cols, p_.head_dim, x, k_t, u_.data(), stride_);
    }
    if (y_in_.data) product<true>(count, cols, p_.head_dim, q, y_t, u_.data(), stride_);
  }

 private:
  const AttentionProblem& p_;
  const AttentionIn q_in_, k_in_, x_in_, y_in_;
  Stretch at_{};
  const std::int64_t d_, stride_;
  const WorkBuffer<T> k_t_, y_t_, line_, q_, x_, s_, u_;
};

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
