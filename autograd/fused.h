// Fused operations: one kernel each for value, gradient and second derivative, where a composite of
// the operations of autograd/ops.h would take many. They can be differentiated to any order; order
// 3 and above runs the composite.
//
// Common rules. Floating operands of one call have one dtype and one device; f64, f32, bf16 and f16
// are taken, and sums are made in f32 (f64 for f64). Optional operands are null Variables. "[T, D]"
// weights belong to an input [T, ..., D]: every task, an index of the first axis, has its own row.
// Errors are thrown before any work and name what does not fit: ShapeError, DTypeError,
// DeviceError, ValueError for constants out of range, AutogradError for a constant operand that
// requires a gradient.
#pragma once

#include <optional>

#include "autograd/ops.h"
#include "autograd/random_key.h"
#include "kernels/bce_with_logits.h"
#include "kernels/bias_gelu.h"

namespace mettle {

/// gamma (x - mean) / sqrt(variance + eps) + beta over the last axis, with the biased variance.
/// gamma and beta are [D] or [T, D], alike; a null gamma is ones, a null beta zeros. Ba, Kiros and
/// Hinton, "Layer normalization", 2016.
Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                    double eps = 1e-5);

using kernels::GeluForm;  // erf, tanh

/// gelu(x + bias) = z Phi(z) with z = x + bias, Phi the normal distribution function or its tanh
/// approximation. bias is [D] for the last axis of x, or [T, D]; null: none. Hendrycks and Gimpel,
/// "Gaussian error linear units", 2016.
Variable bias_gelu(const Variable& x, const Variable& bias, GeluForm form = GeluForm::erf);
Variable gelu(const Variable& x, GeluForm form = GeluForm::erf);

/// gelu(x weight + bias) in one pass; operands as in linear().
Variable linear_gelu(const Variable& x, const Variable& weight, const Variable& bias,
                     GeluForm form = GeluForm::erf);

struct BceOptions {
  Variable weight = {};     // constant, broadcasts to the logits' shape; null: ones
  double pos_weight = 1.0;  // factor of the loss of positive targets
  Reduction reduction = Reduction::mean;
};

/// Binary cross-entropy of sigmoid(logits) against targets in [0, 1] of the same shape, in the form
/// that neither overflows nor cancels. The loss is f32 (f64 for f64): of the logits' shape for
/// Reduction::none, else a scalar; mean divides by the number of logits, whatever the weights.
Variable bce_with_logits(const Variable& logits, const Variable& target,
                         const BceOptions& options = {});

struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;  // rows with this target have loss and gradient 0
  double label_smoothing = 0.0;      // in [0, 1]: this share of a target is spread over all classes
  Reduction reduction = Reduction::mean;  // over the rows that are not ignored; of none it is NaN
  std::int64_t chunk_rows = 0;  // of linear_cross_entropy(): rows of logits held at a time
};

/// Softmax cross-entropy: -sum_c q_c log softmax(logits)_c with q = 1 - label_smoothing at the
/// target, plus label_smoothing / C everywhere. logits (..., C), target (...) of i64 or i32; the
/// losses are f32 (f64 for f64), of target's shape for Reduction::none, else a scalar. A target
/// outside [0, C) that is not ignore_index is a ValueError that names its position. Szegedy et al.,
/// "Rethinking the Inception architecture", 2016.
Variable cross_entropy(const Variable& logits, const Variable& target,
                       const CrossEntropyOptions& options = {});

/// cross_entropy(x weight^T + bias, target) for a large catalogue: x (..., D), weight (C, D), bias
/// (C) or null. The logits exist for chunk_rows rows at a time, at every order up to 2, so memory
/// is linear in rows and in classes; each order computes them again. chunk_rows 0: as many rows as
/// take 32 MB (64 MB for f64), but at least 16. Logits of bf16 and f16 operands are f32.
Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias,
                              const Variable& target, const CrossEntropyOptions& options = {});

struct AttentionOptions {
  /// Factor of q k^T; 1 / sqrt(D) when not given.
  std::optional<double> scale = {};
  /// Added to the scores; of q's dtype, broadcasts to (..., H, Nq, Nk). -inf excludes a key. A
  /// constant.
  Variable mask = {};
  /// bool or u8, broadcasts to (..., Nk): nonzero marks a valid key.
  Variable key_padding = {};
  /// Query i sees the keys j <= i + (Nk - Nq): the ends of both are aligned.
  bool causal = false;
  /// Probability in [0, 1) with which an element of the softmax is dropped; what is kept is divided
  /// by 1 - dropout. The elements of (..., H, Nq, Nk), counted row-major, draw from `key`.
  double dropout = 0.0;
  RandomKey key = {};
};

/// dropout(softmax(scale q k^T + mask)) v. q (..., H, Nq, D), k (..., H, Nk, D), v (..., H, Nk, Dv)
/// -> (..., H, Nq, Dv); the leading axes, any number, are equal. Any strides: views with a dense
/// last axis are read as they are, and results lie in memory in the order of q's axes. A query
/// without valid key gives 0 and sends no gradient. Memory is linear in Nq + Nk at orders 1 and 2.
/// Vaswani et al., "Attention is all you need", 2017; Dao et al., "FlashAttention", 2022.
Variable attention(const Variable& q, const Variable& k, const Variable& v,
                   const AttentionOptions& options = {});

/// Self-attention on the output of one projection: qkv (..., N, 3, H, D) -> (..., N, H, D), both
/// ready to be reshaped to (..., N, 3 H D) and (..., N, H D) without a copy. The gradient of qkv is
/// one packed tensor.
Variable attention_packed(const Variable& qkv, const AttentionOptions& options = {});

/// Zeroes an element with probability p in [0, 1) and divides what is kept by 1 - p. Elements
/// counted row-major draw from `key`: the same key drops the same elements. Its own adjoint.
Variable dropout(const Variable& x, double p, const RandomKey& key);

struct ResidualNorm {
  Variable normalized;  // layer_norm(sum)
  Variable sum;         // residual + dropout(x)
};

/// The step between two layers of a transformer in one pass. x and residual have one shape; gamma,
/// beta and eps are those of layer_norm; p and key those of dropout.
ResidualNorm dropout_residual_layer_norm(const Variable& x, const Variable& residual,
                                         const Variable& gamma, const Variable& beta, double p,
                                         const RandomKey& key, double eps = 1e-5);

/// Rows of a table: table [V, D], ids (i64 or i32, of any shape) -> (ids' shape..., D). Positions
/// that hold padding_id read as zeros and send no gradient (-1: none). Any other id outside [0, V)
/// is a ValueError that names it. The gradient is a table of zeros to which rows are added, in the
/// order of their positions; for a table too large for that see sparse_rows().
Variable embedding(const Variable& table, const Variable& ids, std::int64_t padding_id = -1);
/// The adjoint of embedding: a table of zeros [V, D] with rows (ids' shape..., D) added at ids.
Variable scatter_rows(const Variable& rows, const Variable& ids, std::int64_t table_rows,
                      std::int64_t padding_id = -1);

/// The gradient of a table as the rows that it touches.
struct SparseGradient {
  Tensor ids;   // i64 [n], ascending, each once
  Tensor rows;  // [n, D]
};

/// A table's gradient without the table: take the gradient with respect to the looked-up rows,
///   const Variable rows = embedding(table, ids);
///   const Variable d_rows = grad(loss, {rows})[0];  // never walks into the table
///   const SparseGradient g = sparse_rows(d_rows, ids, table.size(0));
/// Equal, in every bit, to the touched rows of the dense gradient. For several look-ups of one
/// table concat() their ids and gradients first.
SparseGradient sparse_rows(const Variable& d_rows, const Variable& ids, std::int64_t table_rows,
                           std::int64_t padding_id = -1);

}  // namespace mettle
