// Runs a backward kernel over all stretches and sums its gradients of k and v over the stretches of
// a head, in order. Included once per SIMD target.
#if defined(METTLE_KERNELS_CPU_ATTENTION_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_ATTENTION_SUMS_INL_H_
#undef METTLE_KERNELS_CPU_ATTENTION_SUMS_INL_H_
#else
#define METTLE_KERNELS_CPU_ATTENTION_SUMS_INL_H_
#endif

#include "engine/parallel.h"
#include "kernels/cpu/attention_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {

/// The sums that a stretch adds to: dk (Nk, D) and dv (Nk, Dv), rows padded.
template <class T> class KeySums {
 public:
  KeySums(const AttentionProblem& p, AttentionOut dk, AttentionOut dv)
      : p_(p),
        dk_(dk),
        dv_(dv),
        dk_size_(p.keys * padded<T>(p.head_dim)),
        size_(dk_size_ + p.keys * padded<T>(p.value_dim)) {}

  std::int64_t size() const { return size_; }
  T* dv(T* sums) const { return sums + dk_size_; }

  void store(const Stretch& at, const T* sums) const {
    if (dk_.data)
      store_rows(p_.dtype, sums, dk_, at, 0, p_.keys, p_.head_dim, static_cast<T>(p_.scale));
    if (dv_.data) store_rows(p_.dtype, sums + dk_size_, dv_, at, 0, p_.keys, p_.value_dim, T(1));
  }

 private:
  const AttentionProblem& p_;
  AttentionOut dk_, dv_;
  std::int64_t dk_size_, size_;
};

/// `Strips` is constructed from `args` once per chunk of tasks and has run(stretch, dk, dv).
template <class T, class Strips, class Args>
void run_with_key_sums(const Args& args, const Plan& plan, const KeySums<T>& sums) {
  const bool whole_heads = plan.stretches() == 1;
  const WorkBuffer<T> parts(whole_heads ? 0 : plan.tasks() * sums.size());
  parallel_for(plan.tasks(), plan.chunk(), [&](std::int64_t begin, std::int64_t end) {
    Strips strips(args);
    const WorkBuffer<T> own(whole_heads ? sums.size() : 0);
    for (std::int64_t task = begin; task < end; ++task) {
      T* dk = whole_heads ? own.data() : parts.data() + task * sums.size();
      std::fill(dk, dk + sums.size(), T(0));
      strips.run(plan[task], dk, sums.dv(dk));
      if (whole_heads) sums.store(plan[task], dk);
    }
  });
  if (whole_heads) return;
  parallel_for(plan.tasks() / plan.stretches(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) {
      T* total = parts.data() + head * plan.stretches() * sums.size();
      for (std::int64_t s = 1; s < plan.stretches(); ++s)
        for (std::int64_t i = 0; i < sums.size(); ++i) total[i] += total[s * sums.size() + i];
      sums.store(plan[head * plan.stretches()], total);
    }
  });
}

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
