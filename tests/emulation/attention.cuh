// Attention in the manner of FlashAttention-2, forward: O = softmax(scale Q K^T) V without the
// matrix of scores. q, k, v, o are (heads, N, 64) in bf16, lse (heads, N) is log sum exp of the
// scores. A block of four warps has 64 rows of queries and walks over tiles of 64 keys, two stages
// of cp.async.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {

struct AttentionTile {
  static constexpr int d = 64, rows = 64, pitch = d + 8, size = rows * pitch;
  static constexpr int threads = 128;
  static constexpr int shared_bytes = 5 * size * 2;
};

// What a thread keeps of its two query rows, g and g + 8 of its warp's 16.
struct AttentionRows {
  float o[8][4];     // columns 8j + 2t, 8j + 2t + 1 of both rows
  float maximum[2];  // of the scores so far, times log2(e)
  float sum[2];      // this thread's part of the sum of exp2(score - maximum)
};

METTLE_DEVICE void load_attention_tile(bf16* tile, const bf16* matrix, int row, int n) {
  using Tile = AttentionTile;
  for (int i = dev::thread_rank(); i < Tile::rows * Tile::d / 8; i += Tile::threads) {
    const int r = i / (Tile::d / 8), c = i % (Tile::d / 8) * 8;
    const bool inside = row + r < n;
    const bf16* source = inside ? matrix + (row + r) * Tile::d + c : matrix;
    dev::copy_async<16>(tile + r * Tile::pitch + c, source, inside ? 16 : 0);  // copy
  }
}

// s = Q K^T of this warp's rows and one tile of keys.
METTLE_DEVICE void attention_scores(float (&s)[8][4], const bf16* q, const bf16* k) {
  const int lane = dev::lane_index(), pitch = AttentionTile::pitch;
  METTLE_UNROLL
  for (int kk = 0; kk < AttentionTile::d; kk += 16) {
    std::uint32_t a[4];
    dev::load_matrices(a,
                       q + (dev::warp_index() * 16 + lane % 16) * pitch + kk + lane / 16 * 8);  // q
    METTLE_UNROLL
    for (int j = 0; j < 8; ++j) {
      std::uint32_t b[2];
      dev::load_matrices(b, k + (j * 8 + lane % 8) * pitch + kk + lane / 8 % 2 * 8);  // k
      dev::multiply_add<bf16>(s[j], a, b[0], b[1]);
    }
  }
}

// Turns scores into weights exp2(s - maximum), with the maximum over all keys so far.
template <AttentionFault fault, bool causal>
METTLE_DEVICE void attention_weights(float (&s)[8][4], AttentionRows& rows, int query, int key,
                                     const AttentionArgs& args) {
  METTLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int row = query + 8 * h;
    float maximum = rows.maximum[h];
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 2; ++e) {
        const int column = key + j * 8 + e;
        const bool bounded = column < args.n || fault == AttentionFault::no_key_bound;
        float& score = s[j][2 * h + e];
        score = bounded && (!causal || column <= row) ? score * args.scale_log2 : -dev::infinity();
        maximum = dev::maximum(maximum, score);
      }
    if (fault != AttentionFault::no_max_over_lanes) {
      maximum = dev::maximum(maximum, dev::shuffle_xor(dev::full_warp, maximum, 1));
      maximum = dev::maximum(maximum, dev::shuffle_xor(dev::full_warp, maximum, 2));
    }
    const bool nothing = maximum == -dev::infinity();
    const float shrink = nothing ? 1.0f : dev::fast_exp2(rows.maximum[h] - maximum);
    float sum = 0;
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 2; ++e) {
        float& weight = s[j][2 * h + e];
        weight = nothing ? 0.0f : dev::fast_exp2(weight - maximum);
        sum += weight;
        rows.o[j][2 * h + e] *= shrink;
      }
    rows.maximum[h] = maximum;
    rows.sum[h] = rows.sum[h] * shrink + sum;
  }
}

// o += P V; the fragments of P are those of the scores.
METTLE_DEVICE void attention_values(AttentionRows& rows, const float (&p)[8][4], const bf16* v) {
  const int lane = dev::lane_index(), pitch = AttentionTile::pitch;
  METTLE_UNROLL
  for (int kk = 0; kk < 4; ++kk) {
    const std::uint32_t a[4] = {dev::pack_halves<bf16>(p[2 * kk][0], p[2 * kk][1]),
                                dev::pack_halves<bf16>(p[2 * kk][2], p[2 * kk][3]),
                                dev::pack_halves<bf16>(p[2 * kk + 1][0], p[2 * kk + 1][1]),
                                dev::pack_halves<bf16>(p[2 * kk + 1][2], p[2 * kk + 1][3])};
    METTLE_UNROLL
    for (int j = 0; j < 8; ++j) {
      std::uint32_t b[2];
      dev::load_matrices_transposed(b, v + (kk * 16 + lane % 16) * pitch + j * 8);  // v
      dev::multiply_add<bf16>(rows.o[j], a, b[0], b[1]);
    }
  }
}

METTLE_DEVICE void store_attention(const AttentionRows& rows, const AttentionArgs& args, int head,
                                   int query) {
  const int t = dev::lane_index() % 4;
  METTLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    float sum = rows.sum[h];
    sum += dev::shuffle_xor(dev::full_warp, sum, 1);
    sum += dev::shuffle_xor(dev::full_warp, sum, 2);
    const int row = query + 8 * h;
    if (row >= args.n) continue;
    const std::int64_t at = static_cast<std::int64_t>(head) * args.n + row;
    if (t == 0) args.lse[at] = rows.maximum[h] * 0.69314718f + dev::fast_log(sum);
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 2; ++e)
        args.o[at * AttentionTile::d + j * 8 + 2 * t + e] =
            dev::round_to<bf16>(dev::fast_divide(rows.o[j][2 * h + e], sum));
  }
}

template <AttentionFault fault, bool causal>
METTLE_GLOBAL(128)
void attention_forward(const AttentionArgs args) {
  using enum AttentionFault;
  using Tile = AttentionTile;
  dev::SharedCarver carver;
  bf16* q = carver.take<bf16>(Tile::size);
  bf16* k = carver.take<bf16>(2 * Tile::size);
  bf16* v = carver.take<bf16>(2 * Tile::size);
  const int head = dev::block_index().y, q0 = dev::block_index().x * Tile::rows;
  const std::int64_t base = static_cast<std::int64_t>(head) * args.n * Tile::d;
  load_attention_tile(q, args.q + base, q0, args.n);
  load_attention_tile(k, args.k + base, 0, args.n);
  load_attention_tile(v, args.v + base, 0, args.n);
  dev::commit_copies();

  AttentionRows rows = {{}, {-dev::infinity(), -dev::infinity()}, {}};
  const int lane = dev::lane_index();
  const int query = q0 + dev::warp_index() * 16 + lane / 4;
  int tiles = (args.n + Tile::rows - 1) / Tile::rows;
  if (causal) tiles = dev::minimum(tiles, dev::block_index().x + 1);
  for (int tile = 0; tile < tiles; ++tile) {
    const int next = (tile + 1) % 2 * Tile::size, now = tile % 2 * Tile::size;
    if (tile + 1 < tiles) {
      load_attention_tile(k + next, args.k + base, (tile + 1) * Tile::rows, args.n);
      load_attention_tile(v + next, args.v + base, (tile + 1) * Tile::rows, args.n);
    }
    dev::commit_copies();
    dev::wait_copies<fault == missing_wait ? 2 : 1>();
    if (fault != no_sync_after_wait) dev::sync_block();
    float s[8][4] = {};
    attention_scores(s, q, k + now);
    attention_weights<fault, causal>(s, rows, query, tile * Tile::rows + lane % 4 * 2, args);
    attention_values(rows, s, v + now);
    if (fault != no_sync_at_end) dev::sync_block();
  }
  dev::wait_copies<0>();
  store_attention(rows, args, head, query);
}

}  // namespace mettle::emulation_test
