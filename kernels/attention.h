// Softmax attention that differentiates twice: argument structs and slots of its kernels.
//
// For one head, with tau = scale, Z = the dropout multiplier (0 or 1/(1-p); 1 without dropout):
//   S = tau q k^T + mask   (Nq, Nk)      lse_i = logsumexp_j S_ij      P = exp(S - lse)
//   out = (Z o P) v
// The first backward maps (q, k, v, dout) to (dq, dk, dv). The double backward maps the cotangents
// (ddq, ddk, ddv) of those three to the gradients of <ddq,dq> + <ddk,dk> + <ddv,dv> with respect to
// (q, k, v, dout). The forward-mode derivative maps tangents of (q, k, v) to the tangent of out;
// the double backward's ddout is that tangent along (ddq, ddk, ddv). `out` and `lse` are functions
// of q, k, v: the formulas already contain the paths through them, so an autograd node sends them
// no gradient. The mask is a constant.
//
// No kernel but the variant "naive" allocates more than a multiple of Nq + Nk per head. A row that
// has no valid key has lse = -inf, P = 0, output 0, and sends gradient 0 everywhere.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "engine/random.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// A (B, H, N, D) operand. Element (b, h, n, d) is data[b * batch + h * head + n * row + d]:
/// strides are in elements and the last dimension is contiguous, so q, k and v may be views of a
/// packed (B, N, 3, H, D) tensor. Null data: not given (inputs) or not wanted (outputs).
template <class Pointer> struct AttentionOperand {
  Pointer data = nullptr;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t row = 0;
};
using AttentionIn = AttentionOperand<const void*>;
using AttentionOut = AttentionOperand<void*>;

/// An additive mask (B, H, Nq, Nk) of the operands' dtype: element strides, 0 where it is
/// broadcast. -inf excludes a key; finite values below -1.6e38 may count as -inf.
struct AttentionMask {
  const void* data = nullptr;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t query = 0;
  std::int64_t key = 0;
};

/// Key padding (B, Nk) of bool or u8: nonzero marks a valid key.
struct AttentionKeyPadding {
  const std::uint8_t* data = nullptr;
  std::int64_t batch = 0;
  std::int64_t key = 0;
};

/// What the kernels of one attention call have in common.
struct AttentionProblem {
  DType dtype = DType::f32;     // of every operand; bf16 and f16 are computed in f32
  std::int64_t batch = 0;       // B
  std::int64_t heads = 0;       // H
  std::int64_t queries = 0;     // Nq
  std::int64_t keys = 0;        // Nk
  std::int64_t head_dim = 0;    // D of q and k
  std::int64_t value_dim = 0;   // Dv of v and out
  double scale = 1.0;           // tau, usually 1/sqrt(D)
  bool causal = false;          // query i sees the keys j <= i + (Nk - Nq): the ends are aligned
  AttentionMask mask;           // optional
  AttentionKeyPadding padding;  // optional
  double dropout = 0.0;         // p in [0, 1): the probability that an element of P is dropped
  PhiloxKey key;                // of the dropout bits; element ((b * H + h) * Nq + i) * Nk + j
};

struct AttentionForwardArgs {
  AttentionProblem problem;
  AttentionIn q;        // (B, H, Nq, D)
  AttentionIn k;        // (B, H, Nk, D)
  AttentionIn v;        // (B, H, Nk, Dv)
  AttentionOut out;     // (B, H, Nq, Dv)
  void* lse = nullptr;  // (B, H, Nq), dense, f64 for f64 operands, else f32; null: not wanted
};

/// Outputs must overlap neither each other nor an input; null outputs are skipped with their work.
struct AttentionBackwardArgs {
  AttentionProblem problem;
  AttentionIn q, k, v;  // as in the forward call
  AttentionIn out;      // the forward call's output; a variant may recompute what it needs of it
  const void* lse = nullptr;  // the forward call's
  AttentionIn dout;           // (B, H, Nq, Dv) cotangent of out
  AttentionOut dq;            // (B, H, Nq, D)
  AttentionOut dk;            // (B, H, Nk, D)
  AttentionOut dv;            // (B, H, Nk, Dv)
};

/// Null cotangents count as zero. Outputs as in the backward.
struct AttentionDoubleBackwardArgs {
  AttentionProblem problem;
  AttentionIn q, k, v;  // as in the forward call
  AttentionIn out;      // the forward call's output; a variant may recompute what it needs of it
  const void* lse = nullptr;  // the forward call's
  AttentionIn dout;           // as in the backward call
  AttentionIn ddq;            // (B, H, Nq, D) cotangent of dq
  AttentionIn ddk;            // (B, H, Nk, D) cotangent of dk
  AttentionIn ddv;            // (B, H, Nk, Dv) cotangent of dv
  AttentionOut dq2;           // (B, H, Nq, D) gradient with respect to q
  AttentionOut dk2;           // (B, H, Nk, D) with respect to k
  AttentionOut dv2;           // (B, H, Nk, Dv) with respect to v
  AttentionOut ddout;         // (B, H, Nq, Dv) with respect to dout
};

/// The tangent of out where q, k, v move along tangents of theirs: with U = tau (tangent_q k^T +
/// q tangent_k^T) and u = rowsum(P o U),
///   tangent_out = (Z o P o (U - u)) v + (Z o P) tangent_v
/// Null tangents count as zero. The output must overlap no input.
struct AttentionJvpArgs {
  AttentionProblem problem;
  AttentionIn q, k, v;                          // as in the forward call
  AttentionIn out;                              // as in the backward call
  const void* lse = nullptr;                    // the forward call's
  AttentionIn tangent_q, tangent_k, tangent_v;  // as q, k, v
  AttentionOut tangent_out;                     // (B, H, Nq, Dv)
};

inline Slot<AttentionForwardArgs> attention_forward{"attention_forward"};
inline Slot<AttentionJvpArgs> attention_jvp{"attention_jvp"};
inline Slot<AttentionBackwardArgs> attention_backward{"attention_backward"};
inline Slot<AttentionDoubleBackwardArgs> attention_double_backward{"attention_double_backward"};

}  // namespace mettle::kernels
