// What all attention kernels share: the sizes and constants of a call, the scores that masks leave,
// and the multipliers of dropout. Scores are in units of ln 2, so that P is a power of 2.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/dtype.h"
#include "engine/random.h"
#include "kernels/attention.h"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

template <class A> inline constexpr A attention_log2e = A(1.44269504088896340735992468100189214);
template <class A> inline constexpr A attention_ln2 = A(0.693147180559945309417232121458176568);

/// The problem of a call as kernels want it; A is the type of sums. attention_call() makes it.
template <class A> struct AttentionCall {
  DType dtype;
  bool causal;
  bool drops;
  int heads;
  int queries;
  int keys;
  int head_dim;
  int value_dim;
  A scale;
  A scale_log2;  // scale * log2(e)
  A kept;        // 1 / (1 - p)
  std::uint32_t drop_threshold;
  PhiloxKey key;
  AttentionMask mask;
  AttentionKeyPadding padding;

  /// Keys that query i may see as far as the causal mask goes, possibly negative.
  METTLE_DEVICE int visible(int i) const {
    return causal ? dev::minimum(keys, i + 1 + keys - queries) : keys;
  }
  /// The first query that may see key j, possibly negative.
  METTLE_DEVICE int first_viewer(int j) const { return causal ? j + queries - keys : 0; }
};

/// A head of the batch: the place of its rows in statistics and of its scores in the dropout bits.
struct AttentionHead {
  int b;
  int h;
  std::int64_t index;  // b * H + h

  template <class Operand> METTLE_DEVICE std::int64_t offset(const Operand& x) const {
    return b * x.batch + h * x.head;
  }
};

METTLE_DEVICE AttentionHead attention_head(int index, int heads) {
  return {index / heads, index % heads, index};
}

// ---- numbers ------------------------------------------------------------------------------------
METTLE_DEVICE float attention_exp2(float x) { return dev::fast_exp2(x); }
METTLE_DEVICE double attention_exp2(double x) { return ::exp2(x); }
METTLE_DEVICE float attention_log(float x) { return ::logf(x); }
METTLE_DEVICE double attention_log(double x) { return ::log(x); }

/// Element `at` of an array of the dtype: f64 for A = double, one of the others for float.
template <class A> METTLE_DEVICE A attention_load(DType dtype, const void* data, std::int64_t at) {
  if constexpr (std::is_same_v<A, double>) {
    return static_cast<const double*>(data)[at];
  } else {
    if (dtype == DType::f32) return static_cast<const float*>(data)[at];
    if (dtype == DType::bf16) return dev::to_float(static_cast<const bf16*>(data)[at]);
    return dev::to_float(static_cast<const f16*>(data)[at]);
  }
}
template <class A>
METTLE_DEVICE void attention_store(DType dtype, void* data, std::int64_t at, A value) {
  if constexpr (std::is_same_v<A, double>) {
    static_cast<double*>(data)[at] = value;
  } else {
    if (dtype == DType::f32)
      static_cast<float*>(data)[at] = value;
    else if (dtype == DType::bf16)
      static_cast<bf16*>(data)[at] = dev::round_to<bf16>(value);
    else
      static_cast<f16*>(data)[at] = dev::round_to<f16>(value);
  }
}

// ---- masks and dropout, an element at a time ----------------------------------------------------
/// The score of query i and key j, given q_i k_j: -inf where a mask excludes the key or either of
/// them lies outside.
template <class A>
METTLE_DEVICE A attention_score(const AttentionCall<A>& call, const AttentionHead& head, int i,
                                int j, A product) {
  const A excluded = -static_cast<A>(dev::infinity());
  if (i >= call.queries || j >= call.visible(i)) return excluded;
  if (call.padding.data && !call.padding.data[head.b * call.padding.batch + j * call.padding.key])
    return excluded;
  A score = product * call.scale_log2;
  if (call.mask.data) {
    const AttentionMask& m = call.mask;
    const std::int64_t at = head.b * m.batch + head.h * m.head + i * m.query + j * m.key;
    score += attention_load<A>(call.dtype, m.data, at) * attention_log2e<A>;
  }
  return score;
}

/// The number of element (i, j) among all scores of the call, which names its dropout bits.
template <class A>
METTLE_DEVICE std::uint64_t attention_element(const AttentionCall<A>& call,
                                              const AttentionHead& head, int i, int j) {
  return static_cast<std::uint64_t>((head.index * call.queries + i) * call.keys + j);
}

/// Z: 0 or 1 / (1 - p). Only for elements inside.
template <class A>
METTLE_DEVICE A attention_keep(const AttentionCall<A>& call, const AttentionHead& head, int i,
                               int j) {
  if (!call.drops) return A(1);
  const std::uint32_t bits = call.key.bits(attention_element(call, head, i, j));
  return dropout_keeps(bits, call.drop_threshold) ? call.kept : A(0);
}

/// lse of a row in units of ln 2; +inf for a row outside or without a valid key, whose P is then 0.
template <class A>
METTLE_DEVICE A attention_row_lse(const AttentionCall<A>& call, const AttentionHead& head,
                                  const A* lse, int i) {
  const A infinity = static_cast<A>(dev::infinity());
  if (i >= call.queries) return infinity;
  const A value = lse[head.index * call.queries + i];
  return value == -infinity ? infinity : value * attention_log2e<A>;
}

}  // namespace mettle::kernels::cuda
