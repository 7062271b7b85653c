// Attention forward, variant "strip": for each strip of query rows the scores against all keys, a
// softmax in place, and the product with v. The strip is exact (no running rescale) and takes
// memory linear in the number of keys.
#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_forward.cpp"
#include <hwy/foreach_target.h>

#include <cmath>

#include "engine/parallel.h"
#include "kernels/cpu/attention_rows-inl.h"
#include "kernels/cpu/attention_variants.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

template <class T> class ForwardStrips {
 public:
  explicit ForwardStrips(const AttentionForwardArgs& args)
      : args_(args),
        p_(args.problem),
        stride_(strip_stride<T>(p_)),
        keys_t_(transposed_size<T>(p_.keys, p_.head_dim)),
        values_(p_.keys * padded<T>(p_.value_dim)),
        line_(padded<T>(p_.head_dim)),
        queries_(strip_rows(p_) * padded<T>(p_.head_dim)),
        scores_(strip_rows(p_) * stride_),
        out_(strip_rows(p_) * padded<T>(p_.value_dim)),
        inverse_(strip_rows(p_)),
        bias_(p_),
        dropout_(p_) {}

  void run(const Stretch& at) {
    if (at.first == at.last) return;
    at_ = at;
    const std::int64_t seen = visible_keys(p_, at.last - 1);
    load_transposed(p_.dtype, args_.k, at, seen, p_.head_dim, static_cast<T>(p_.scale) * log2e<T>,
                    line_.data(), keys_t_.data());
    load_rows(p_.dtype, args_.v, at, 0, seen, p_.value_dim, values_.data());
    bias_.start_head(at);
    for (std::int64_t i = at.first; i < at.last; i += strip_rows(p_))
      strip(i, std::min(strip_rows(p_), at.last - i));
  }

 private:
  void strip(std::int64_t first, std::int64_t count) {
    const std::int64_t d = padded<T>(p_.head_dim), dv = padded<T>(p_.value_dim);
    const std::int64_t cols = visible_keys(p_, first + count - 1);
    load_rows(p_.dtype, args_.q, at_, first, count, p_.head_dim, queries_.data());
    product<false>(count, cols, p_.head_dim, LeftOperand<T>{queries_.data(), d, 1},
                   in_panels(keys_t_.data(), p_.head_dim), scores_.data(), stride_);
    for (std::int64_t i = 0; i < count; ++i)
      inverse_[i] = softmax(first + i, cols, &scores_[i * stride_]);
    if (!args_.out.data) return;
    product<false>(count, p_.value_dim, cols, LeftOperand<T>{scores_.data(), stride_, 1},
                   row_major(values_.data(), dv), out_.data(), dv);
    for (std::int64_t i = 0; i < count; ++i)
      store_row(p_.dtype, out_.data() + i * dv, p_.value_dim, inverse_[i], args_.out.data,
                head_offset(args_.out, at_) + (first + i) * args_.out.row);
  }

  // scores -> Z o exp(S - max) of one row; returns the factor that makes it Z o P, which the output
  // row gets: it is shorter. Writes lse.
  T softmax(std::int64_t i, std::int64_t cols, T* scores) {
    const Simd<T> d;
    const T* bias = bias_.row(i, cols);
    auto top = hn::Set(d, -infinity<T>);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto s = hn::Add(hn::LoadU(d, scores + j), hn::LoadU(d, bias + j));
      hn::StoreU(s, d, scores + j);
      top = hn::Max(top, s);
    }
    const T row_top = hn::GetLane(hn::MaxOfLanes(d, top));
    const auto shift = hn::Set(d, row_top == -infinity<T> ? T(0) : row_top);
    const T row_sum = dropout_.drops() ? exponentials<true>(i, cols, shift, scores)
                                       : exponentials<false>(i, cols, shift, scores);
    const T inverse = row_sum == T(0) ? T(0) : T(1) / row_sum;
    if (!args_.lse) return inverse;
    const std::int64_t row = (at_.b * p_.heads + at_.h) * p_.queries + i;
    static_cast<T*>(args_.lse)[row] =
        row_sum == T(0) ? -infinity<T> : row_top * ln2<T> + std::log(row_sum);
    return inverse;
  }

  // scores -> Z o 2^(scores - shift), Z = 1 without dropout; returns the sum of the powers.
  template <bool Drops>
  T exponentials(std::int64_t i, std::int64_t cols, hn::Vec<Simd<T>> shift, T* scores) {
    const Simd<T> d;
    [[maybe_unused]] const T* keep = Drops ? dropout_.row(at_, i, cols) : nullptr;
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < cols; j += lanes<T>) {
      const auto e = exp2<T>(hn::Sub(hn::LoadU(d, scores + j), shift));
      sum = hn::Add(sum, e);
      if constexpr (Drops) {
        hn::StoreU(hn::Mul(hn::LoadU(d, keep + j), e), d, scores + j);
      } else {
        hn::StoreU(e, d, scores + j);
      }
    }
    return hn::GetLane(hn::SumOfLanes(d, sum));
  }

  const AttentionForwardArgs& args_;
  const AttentionProblem& p_;
  Stretch at_{};
  const std::int64_t stride_;
  const WorkBuffer<T> keys_t_, values_, line_, queries_, scores_, out_, inverse_;
  BiasRow<T> bias_;
  DropoutRow<T> dropout_;
};

template <class T> void forward_of(const AttentionForwardArgs& args) {
  const Plan plan(args.problem, 2);
  parallel_for(plan.tasks(), plan.chunk(), [&](std::int64_t begin, std::int64_t end) {
    ForwardStrips<T> strips(args);
    for (std::int64_t task = begin; task < end; ++task) strips.run(plan[task]);
  });
}

void forward(const AttentionForwardArgs& args) {
  args.problem.dtype == DType::f64 ? forward_of<double>(args) : forward_of<float>(args);
}

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu::attention {

HWY_EXPORT(forward);

void forward_strip(const Stream&, const AttentionForwardArgs& args) {
  check_call(args, "attention_forward");
  HWY_DYNAMIC_DISPATCH(forward)(args);
}

}  // namespace mettle::kernels::cpu::attention
#endif
