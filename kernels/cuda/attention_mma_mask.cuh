// Masks and dropout on fragments of scores. Kernels exist with and without `Extras`, which are an
// additive mask and dropout; the causal mask, key padding and ragged ends are part of both, and
// cost nothing in tiles that they do not touch.
//
// Which keys of a tile are valid is a word of bits that ballots make. Four neighbouring keys share
// a block of the dropout generator when Nk is a multiple of 4: the lanes that hold them then make
// one block each and exchange words, so that ten rounds serve four elements.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// By what scores are multiplied to be in units of ln 2: mma_mask_*() do it when there are Extras.
template <bool Extras> METTLE_DEVICE float mma_factor(const AttentionCall<float>& call) {
  return Extras ? 1.0f : call.scale_log2;
}

/// Bit l: key first + l exists and padding does not exclude it. Every lane of the warp calls.
METTLE_DEVICE std::uint32_t mma_valid_keys(const AttentionCall<float>& call,
                                           const AttentionHead& head, int first) {
  const int key = first + dev::lane_index();
  bool valid = key < call.keys;
  if (valid && call.padding.data)
    valid = call.padding.data[head.b * call.padding.batch + key * call.padding.key] != 0;
  return dev::ballot(dev::full_warp, valid);
}

/// The additive mask of element (i, j) in units of ln 2.
template <class T>
METTLE_DEVICE float mma_bias(const AttentionCall<float>& call, const AttentionHead& head, int i,
                             int j) {
  const AttentionMask& m = call.mask;
  const std::int64_t at = head.b * m.batch + head.h * m.head + i * m.query + j * m.key;
  return dev::to_float(static_cast<const T*>(m.data)[at]) * attention_log2e<float>;
}

/// A product to a score: -inf where it is not seen.
template <class T, bool Extras>
METTLE_DEVICE float mma_score(const AttentionCall<float>& call, const AttentionHead& head, int i,
                              int j, bool seen, float product) {
  if (!Extras) return seen ? product : -dev::infinity();
  if (!seen || i >= call.queries) return -dev::infinity();
  const float score = product * call.scale_log2;
  return call.mask.data ? score + mma_bias<T>(call, head, i, j) : score;
}

/// Products of a tile whose rows are queries, the warp's first element at (i, j), to scores.
/// `whole`: every row sees every key as far as the causal mask and the end of the keys go.
template <class Shape, bool Extras>
METTLE_DEVICE void mma_mask_queries(typename Shape::Scores& s, const AttentionCall<float>& call,
                                    const AttentionHead& head, int i, int j, bool whole) {
  if (!Extras && whole && !call.padding.data) return;
  constexpr int words = (Shape::block + 31) / 32;
  std::uint32_t valid[words];
  METTLE_UNROLL
  for (int w = 0; w < words; ++w) valid[w] = mma_valid_keys(call, head, j + 32 * w) >> mma_column();
  mma_each_row<Shape>([&](int m, int h) {
    const int row = i + mma_row() + 16 * m + 8 * h;
    const int seen = call.visible(row) - j - mma_column();
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
    for (int e = 0; e < 2; ++e) {
      const bool sees = 8 * n + e < seen && (valid[n / 4] >> (8 * (n % 4) + e) & 1);
      float& score = s[m][n][2 * h + e];
      score = mma_score<typename Shape::T, Extras>(call, head, row, j + mma_column() + 8 * n + e,
                                                   sees, score);
    }
  });
}

/// The same of a tile whose rows are keys: (i, j) are the tile's first query, a column, and the
/// warp's first key, with `valid` from mma_valid_keys().
template <class Shape, bool Extras>
METTLE_DEVICE void mma_mask_keys(typename Shape::Scores& s, const AttentionCall<float>& call,
                                 const AttentionHead& head, int i, int j, std::uint32_t valid,
                                 bool whole) {
  static_assert(Shape::warp_rows <= 32);
  if (!Extras && whole && !call.padding.data) return;
  valid >>= mma_row();
  mma_each_row<Shape>([&](int m, int h) {
    const int key = j + mma_row() + 16 * m + 8 * h;
    const bool exists = valid >> (16 * m + 8 * h) & 1;
    const int first = exists ? call.first_viewer(key) - i - mma_column() : Shape::block;
    METTLE_UNROLL
    for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
    for (int e = 0; e < 2; ++e) {
      float& score = s[m][n][2 * h + e];
      score = mma_score<typename Shape::T, Extras>(call, head, i + mma_column() + 8 * n + e, key,
                                                   8 * n + e >= first, score);
    }
  });
}

// ---- dropout ------------------------------------------------------------------------------------
METTLE_DEVICE std::uint32_t mma_word(const PhiloxBlock& block, int which) {
  const std::uint32_t low = which % 2 ? block.word[1] : block.word[0];
  const std::uint32_t high = which % 2 ? block.word[3] : block.word[2];
  return which / 2 ? high : low;
}

METTLE_DEVICE std::uint32_t mma_keeps(const AttentionCall<float>& call, std::uint32_t bits) {
  return dropout_keeps(bits, call.drop_threshold) ? 1 : 0;
}

/// Bit e: element e of (i, j), (i, j + 1), (i + 8, j), (i + 8, j + 1), or with keys as rows of
/// (i, j), (i + 1, j), (i, j + 8), (i + 1, j + 8), is kept. Every lane of the warp calls.
template <bool RowsAreKeys>
METTLE_DEVICE std::uint32_t mma_kept(const AttentionCall<float>& call, const AttentionHead& head,
                                     int i, int j) {
  std::uint32_t kept = 0;
  if (call.keys % 4 != 0) {
    for (int e = 0; e < 4; ++e) {
      const int across = e % 2, down = 8 * (e / 2);
      const std::uint64_t element = RowsAreKeys
                                        ? attention_element(call, head, i + across, j + down)
                                        : attention_element(call, head, i + down, j + across);
      kept |= mma_keeps(call, call.key.bits(element)) << e;
    }
  } else if (RowsAreKeys) {
    // Lanes 4 apart hold four neighbouring keys of four elements: each makes one element's block.
    const int mine = j % 4;
    const PhiloxBlock block =
        call.key.block(attention_element(call, head, i + mine % 2, j / 4 * 4 + 8 * (mine / 2)) / 4);
    METTLE_UNROLL
    for (int step = 0; step < 4; ++step) {
      // From the lane that made element mine ^ step, the word of this lane's key.
      const int e = mine ^ step;
      kept |= mma_keeps(call, dev::shuffle_xor(dev::full_warp, mma_word(block, e), 4 * step)) << e;
    }
  } else {
    // Lanes 2s and 2s + 1 hold the halves of four keys: one makes row i, the other row i + 8.
    const int odd = dev::lane_index() % 2;
    const PhiloxBlock block =
        call.key.block(attention_element(call, head, i + 8 * odd, j / 4 * 4) / 4);
    METTLE_UNROLL
    for (int e = 0; e < 2; ++e) {
      const std::uint32_t low = block.word[e], high = block.word[2 + e];
      const std::uint32_t other = dev::shuffle_xor(dev::full_warp, odd ? low : high, 1);
      kept |= mma_keeps(call, odd ? other : low) << e;
      kept |= mma_keeps(call, odd ? high : other) << (2 + e);
    }
  }
  return kept;
}

/// What a tile's dropout keeps, a bit per element of a lane, drawn once and used for all that is
/// multiplied by Z. (i, j) are the warp's first query and key.
template <class Shape, bool RowsAreKeys> class MmaDropout {
 public:
  METTLE_DEVICE void draw(const AttentionCall<float>& call, const AttentionHead& head, int i,
                          int j) {
    static_assert(Shape::column_tiles <= 8);
    i += RowsAreKeys ? mma_column() : mma_row();
    j += RowsAreKeys ? mma_row() : mma_column();
    METTLE_UNROLL
    for (int m = 0; m < Shape::row_tiles; ++m) {
      std::uint32_t bits = 0;
      for (int n = 0; n < Shape::column_tiles; ++n)
        bits |= (RowsAreKeys ? mma_kept<true>(call, head, i + 8 * n, j + 16 * m)
                             : mma_kept<false>(call, head, i + 16 * m, j + 8 * n))
                << (4 * n);
      bits_[m] = bits;
    }
  }
  /// s *= Z.
  METTLE_DEVICE void apply(typename Shape::Scores& s, float kept) const {
    mma_each<Shape>([&](int m, int n, int e) {
      s[m][n][e] = bits_[m] >> (4 * n + e) & 1 ? s[m][n][e] * kept : 0.0f;
    });
  }

 private:
  std::uint32_t bits_[Shape::row_tiles] = {};
};

}  // namespace mettle::kernels::cuda
