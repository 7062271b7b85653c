// Host side of the attention kernels: the problem as kernels want it, and how many blocks it takes.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"

namespace mettle::kernels::cuda {

template <class A> AttentionCall<A> attention_call(const AttentionProblem& p) {
  AttentionCall<A> call = {};
  call.dtype = p.dtype;
  call.causal = p.causal;
  call.drops = p.dropout > 0;
  call.heads = static_cast<int>(p.heads);
  call.queries = static_cast<int>(p.queries);
  call.keys = static_cast<int>(p.keys);
  call.head_dim = static_cast<int>(p.head_dim);
  call.value_dim = static_cast<int>(p.value_dim);
  call.scale = static_cast<A>(p.scale);
  call.scale_log2 = static_cast<A>(p.scale) * attention_log2e<A>;
  call.kept = static_cast<A>(1.0 / (1.0 - p.dropout));
  call.drop_threshold = drop_threshold(p.dropout);
  call.key = p.key;
  call.mask = p.mask;
  call.padding = p.padding;
  return call;
}

/// The call as what the double backward begins with: its ddout is the tangent of out.
inline AttentionDoubleBackwardArgs tangent_of_double_backward(const AttentionJvpArgs& args) {
  AttentionDoubleBackwardArgs twice;
  twice.problem = args.problem;
  twice.q = args.q;
  twice.k = args.k;
  twice.v = args.v;
  twice.out = args.out;
  twice.lse = args.lse;
  twice.ddq = args.tangent_q;
  twice.ddk = args.tangent_k;
  twice.ddv = args.tangent_v;
  twice.ddout = args.tangent_out;
  return twice;
}

/// Tiles of `rows` rows that cover n.
inline std::int64_t attention_tiles(std::int64_t n, int rows) { return (n + rows - 1) / rows; }

/// Whether kernels that count rows, heads and blocks in 32 bits can run it; 16 is their smallest
/// tile.
inline bool attention_counts_fit(const AttentionProblem& p) {
  constexpr std::int64_t most = (std::int64_t{1} << 31) - 512;
  if (p.queries > most || p.keys > most || p.head_dim > most || p.value_dim > most) return false;
  const std::int64_t longest = p.queries < p.keys ? p.keys : p.queries;
  const std::int64_t tiles = attention_tiles(longest, 16);
  return p.heads == 0 || tiles == 0 || p.batch <= most / (tiles + 1) / (p.heads + 1);
}

/// Variants of attention_*, for the registration list.
void attention_forward_simt(const Stream& stream, const AttentionForwardArgs& args);
void attention_jvp_simt(const Stream& stream, const AttentionJvpArgs& args);
void attention_backward_simt(const Stream& stream, const AttentionBackwardArgs& args);
void attention_double_backward_simt(const Stream& stream, const AttentionDoubleBackwardArgs& args);
void attention_forward_mma(const Stream& stream, const AttentionForwardArgs& args);
void attention_jvp_mma(const Stream& stream, const AttentionJvpArgs& args);
void attention_forward_wgmma(const Stream& stream, const AttentionForwardArgs& args);
void attention_backward_mma(const Stream& stream, const AttentionBackwardArgs& args);
void attention_backward_wgmma(const Stream& stream, const AttentionBackwardArgs& args);
void attention_jvp_wgmma(const Stream& stream, const AttentionJvpArgs& args);
void attention_double_backward_mma(const Stream& stream, const AttentionDoubleBackwardArgs& args);
void attention_double_backward_wgmma(const Stream& stream, const AttentionDoubleBackwardArgs& args);
void attention_double_backward_mma_atomic(const Stream& stream,
                                          const AttentionDoubleBackwardArgs& args);
void attention_double_backward_mma_head(const Stream& stream,
                                        const AttentionDoubleBackwardArgs& args);

/// What mma_head takes: so many query rows and keys, and head dims.
inline constexpr int mma_head_rows = 128, mma_head_dims = 64;
/// Whether a block of the stream's device can have the shared memory of mma_atomic and mma_head.
bool attention_atomic_fits(const Stream& stream, const AttentionDoubleBackwardArgs& args);
bool attention_head_fits(const Stream& stream, const AttentionDoubleBackwardArgs& args);

}  // namespace mettle::kernels::cuda
