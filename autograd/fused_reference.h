// The fused operations as composites of public ones, by the formulas that their kernels follow, in
// f32 inside (f64 for f64). They are what order 3 and above of a fused operation differentiates,
// and the oracle of its tests. Operands are those of autograd/fused.h and are not checked again.
#pragma once

#include "autograd/fused.h"

namespace mettle::reference {

Variable attention(const Variable& q, const Variable& k, const Variable& v,
                   const AttentionOptions& options);
Variable attention_packed(const Variable& qkv, const AttentionOptions& options);
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps);
Variable bias_gelu(const Variable& x, const Variable& bias, GeluForm form);
Variable bce_with_logits(const Variable& logits, const Variable& target, const BceOptions& options);
Variable cross_entropy(const Variable& logits, const Variable& target,
                       const CrossEntropyOptions& options);
Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias,
                              const Variable& target, const CrossEntropyOptions& options);
ResidualNorm dropout_residual_layer_norm(const Variable& x, const Variable& residual,
                                         const Variable& gamma, const Variable& beta, double p,
                                         const RandomKey& key, double eps);

}  // namespace mettle::reference
