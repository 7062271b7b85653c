// Attention as a composite over whole (Nq, Nk) matrices.
#include <cmath>

#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"

namespace mettle {
namespace {

// Mask values below this exclude a key, as -inf does.
constexpr double excluded = -1.6e38;

/// Which scores count, as a bool of a shape that broadcasts to theirs; null: all.
Variable valid_scores(const Variable& scores, const Variable& mask,
                      const AttentionOptions& options) {
  const DType dtype = scores.dtype();
  Variable valid;
  const auto also = [&](const Variable& condition) {
    const Variable factor = cast(condition, dtype);
    valid = valid ? valid * factor : factor;
  };
  if (mask) also(greater(mask, full({}, excluded, dtype, mask.device())));
  if (options.key_padding) {
    Shape shape = options.key_padding.shape();
    shape.insert(shape.rank() - 1, 1);
    shape.insert(shape.rank() - 1, 1);
    also(cast(reshape(options.key_padding, shape), DType::boolean));
  }
  if (options.causal) {
    const std::int64_t queries = scores.size(-2), keys = scores.size(-1);
    const Variable last_seen =
        add(arange(queries, scores.device()), static_cast<double>(keys - queries));
    also(greater_equal(reshape(last_seen, {queries, 1}), arange(keys, scores.device())));
  }
  return valid ? greater(valid, full({}, 0.0, dtype, scores.device())) : valid;
}

/// exp(scores - logsumexp) over the last axis; 0 where not valid, also in rows without valid score.
Variable probabilities(const Variable& scores, const Variable& valid) {
  const Variable zero = full({}, 0.0, scores.dtype(), scores.device());
  const Variable low = full({}, excluded, scores.dtype(), scores.device());
  // The result does not depend on the shift, so the shift is a constant.
  const Variable top = max(valid ? where(valid, scores, low) : scores, -1, true).detach();
  Variable weights = exp(valid ? where(valid, scores - top, zero) : scores - top);
  if (!valid) return weights / sum(weights, {-1}, true);
  weights = where(valid, weights, zero);
  const Variable total = sum(weights, {-1}, true);
  return weights / where(equal(total, zero), add(zero, 1.0), total);
}

}  // namespace

Variable reference::attention(const Variable& q, const Variable& k, const Variable& v,
                              const AttentionOptions& options) {
  const DType wide = ops::wide_dtype(q.dtype());
  const double scale = options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(-1))));
  Variable scores = matmul(mul(cast(q, wide), scale), transpose(cast(k, wide), -2, -1));
  const Variable mask = options.mask ? cast(options.mask.detach(), wide) : Variable();
  const Variable valid = valid_scores(scores, mask, options);
  if (mask) {
    const Variable zero = full({}, 0.0, wide, q.device());
    scores = scores + where(greater(mask, add(zero, excluded)), mask, zero);
  }
  Variable weights = k.size(-2) == 0 ? scores : probabilities(scores, valid);
  if (options.dropout > 0.0) weights = dropout(weights, options.dropout, options.key);
  return cast(matmul(weights, cast(v, wide)), q.dtype());
}

Variable reference::attention_packed(const Variable& qkv, const AttentionOptions& options) {
  const auto part = [&](int i) { return transpose(select(qkv, -3, i), -3, -2); };
  return transpose(reference::attention(part(0), part(1), part(2), options), -3, -2);
}

}  // namespace mettle
