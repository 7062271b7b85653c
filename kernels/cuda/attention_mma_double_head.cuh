// Attention double backward by mma.sync where one block owns a whole head: Nq and Nk up to 128, the
// fine-tuning and meta-learning case. Symbols as in attention_mma_double_backward.cuh. All operands
// of the head lie in shared memory; query rows go in passes of 32 or 64:
//   1. S, U            -> P, and each warp's part of u = rowsum(P o U)
//   2. A, B            -> each warp's part of D = rowsum(P o A), Dd = rowsum(P o [(U - u) o A + B])
//   3. Z o P, T = Z o P o (U - u), E = P o (A - D), F = P o [(U - u) o (A - D) + B - Dd] in 16 bits
//      to shared memory
//   4. dk2 += tau (F^T q + E^T x), dv2 += T^T dout: a warp owns keys, sums stay in registers
//   5. ddout = T v + (Z o P) w, dq2 = tau (F k + E y): a warp owns query rows of one of the two
// In 1 and 2 warps share query rows, each with its group of keys, and add their row sums up in
// shared memory in a fixed order. U is centred by u itself before anything is rounded, D and Dd
// come from P, A, B and U in f32, so neither the forward's output nor scratch memory is needed.
//
// Products of 2 Nq Nk D FLOP per head: 5 + 3 + 4 = 12, one exponential per score; tiles that the
// causal mask or the ends exclude cost nothing in steps 1, 2, 4, 5. Bytes: (5 Nq + 6 Nk) D halves,
// each read or written once, and 4 per row of lse.
//
// Prediction, not measured, for an H100 and N = 128, D = 64, by cycles of a multiprocessor (1.7
// GHz) and head: memory 180 KB at 3.35 TB/s 12100, mma.sync at 62 % of its peak 9900, operands from
// shared memory 1.6 MB at 128 bytes a cycle 12500. One block fills shared memory, so loads overlap
// only with step 1: 20000 to 25000 cycles, 140 to 180 us for B = 128, H = 12. The three kernels
// move 2.4 times the bytes and make 22 products.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_mask.cuh"
#include "kernels/cuda/attention_mma_double_backward.cuh"
#include "kernels/cuda/attention_mma_mask.cuh"
#include "kernels/cuda/attention_mma_tile.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Heads of up to Size query rows and keys. In steps 1 and 2 a warp has 16 * MT query rows and
/// Shape::block keys; it has 16 * MT rows of its output in the others, and a share of the columns.
template <class Type, int Dims, int Size, int MT>
struct MmaHeadShape : MmaShape<Type, Dims, MT, Size / 16, 32> {
  using Base = MmaShape<Type, Dims, MT, Size / 16, 32>;
  static constexpr int size = Size;
  static constexpr int groups = Size / Base::block;      // of keys
  static constexpr int strips = Base::warps / groups;    // of query rows in a pass
  static constexpr int pass = strips * Base::warp_rows;  // query rows
  static constexpr int key_columns = Dims / MT;          // of a warp that owns keys
  static constexpr int query_columns = 2 * Dims / groups;
  static constexpr int operand_size = Size * Base::pitch;
  using KeyColumns = float[MT][key_columns / 8][4];
  using QueryColumns = float[MT][query_columns / 8][4];
  static_assert(key_columns % 16 == 0 && query_columns % 16 == 0);

  /// A tile of 16-bit scores of a pass.
  using Stored = MmaShape<Type, Size, MT, Base::warps, Base::block>;
  static constexpr int stored_size = pass * Stored::pitch;
  static constexpr int sums_size = groups * pass;

  static constexpr std::size_t shared_bytes() {
    return std::size_t{7} * operand_size * 2 + std::size_t{4} * stored_size * 2 +
           std::size_t{3} * sums_size * 4;
  }
  static_assert(operand_size * 2 % 128 == 0 && stored_size * 2 % 128 == 0 &&
                sums_size * 4 % 128 == 0);
};

/// Shared memory of a head.
template <class Shape> struct MmaHeadTiles {
  using T = typename Shape::T;
  T *q, *ddq, *g, *k, *y, *v, *w;    // (Size, Dims)
  T *zp, *t, *e, *f;                 // (pass, Size)
  float *part_u, *part_d, *part_dd;  // (groups, pass)
  METTLE_DEVICE void take() {
    dev::SharedCarver carver;
    q = carver.take<T>(Shape::operand_size);
    ddq = carver.take<T>(Shape::operand_size);
    g = carver.take<T>(Shape::operand_size);
    k = carver.take<T>(Shape::operand_size);
    y = carver.take<T>(Shape::operand_size);
    v = carver.take<T>(Shape::operand_size);
    w = carver.take<T>(Shape::operand_size);
    zp = carver.take<T>(Shape::stored_size);
    t = carver.take<T>(Shape::stored_size);
    e = carver.take<T>(Shape::stored_size);
    f = carver.take<T>(Shape::stored_size);
    part_u = carver.take<float>(Shape::sums_size);
    part_d = carver.take<float>(Shape::sums_size);
    part_dd = carver.take<float>(Shape::sums_size);
  }
};

/// What a warp makes of its query rows and its group of keys in a pass. All zeros where no row sees
/// a key of the group.
template <class Shape> struct MmaHeadScores {
  typename Shape::Scores p = {}, u = {}, a = {}, b = {};
  MmaDropout<Shape, false> dropout;
};

template <class Shape, bool Extras> struct MmaHead {
  using T = typename Shape::T;
  using Scores = typename Shape::Scores;
  using Stored = typename Shape::Stored;
  const AttentionCall<float>& call;
  const MmaDoubleOperands& x;
  const AttentionHead head;
  MmaHeadTiles<Shape> tiles;

  /// Sets the copies going in two batches: what S and U are made of comes first.
  METTLE_DEVICE void load() {
    tiles.take();
    const int queries = call.queries, keys = call.keys, dim = call.head_dim, vdim = call.value_dim;
    constexpr int rows = Shape::size;
    mma_load<Shape, rows>(tiles.q, x.q, head, 0, queries, dim);
    mma_load<Shape, rows>(tiles.k, x.k, head, 0, keys, dim);
    mma_load<Shape, rows>(tiles.ddq, x.ddq, head, 0, x.has_ddq ? queries : 0, dim);
    mma_load<Shape, rows>(tiles.y, x.ddk, head, 0, x.has_ddk ? keys : 0, dim);
    dev::commit_copies();
    mma_load<Shape, rows>(tiles.g, x.dout, head, 0, queries, vdim);
    mma_load<Shape, rows>(tiles.v, x.v, head, 0, keys, vdim);
    mma_load<Shape, rows>(tiles.w, x.ddv, head, 0, x.has_ddv ? keys : 0, vdim);
    dev::commit_copies();
  }

  // ---- steps 1 to 3: a warp has a strip of the pass's query rows and a group of keys
  // -------------
  METTLE_DEVICE static int strip_row() {
    return dev::warp_index() % Shape::strips * Shape::warp_rows;
  }
  METTLE_DEVICE static int group() { return dev::warp_index() / Shape::strips; }
  METTLE_DEVICE static int group_key() { return group() * Shape::block; }

  /// Keys that some row of the strip at `query` sees, possibly negative.
  METTLE_DEVICE int seen(int query) const {
    if (query >= call.queries) return 0;
    return call.visible(dev::minimum(query + Shape::warp_rows, call.queries) - 1);
  }

  /// This warp's part of the sums of its rows to where all parts are.
  METTLE_DEVICE static void put_part(float* parts, const float (&sums)[Shape::row_tiles][2]) {
    mma_each_row<Shape>([&](int m, int h) {
      const float sum = mma_row_sum(sums[m][h]);
      const int row = strip_row() + mma_row() + 16 * m + 8 * h;
      if (mma_column() == 0) parts[group() * Shape::pass + row] = sum;
    });
  }
  METTLE_DEVICE static float whole_sum(const float* parts, int m, int h) {
    const int row = strip_row() + mma_row() + 16 * m + 8 * h;
    float sum = 0;
    METTLE_UNROLL
    for (int i = 0; i < Shape::groups; ++i) sum += parts[i * Shape::pass + row];
    return sum;
  }

  /// P and U, and the parts of u.
  METTLE_DEVICE void make_p_u(MmaHeadScores<Shape>& scores, int first) {
    const int query = first + strip_row(), key = group_key();
    float u[Shape::row_tiles][2] = {};
    if (key < seen(query)) {
      const int own = query * Shape::pitch, at = key * Shape::pitch;
      mma_scores_and_tangents<Shape>(scores.p, scores.u, tiles.q + own, tiles.ddq + own,
                                     tiles.k + at, tiles.y + at);
      mma_mask_queries<Shape, Extras>(scores.p, call, head, query, key,
                                      key + Shape::block <= call.visible(query));
      const float factor = mma_factor<Extras>(call);
      mma_each_row<Shape>([&](int m, int h) {
        const float lse = attention_row_lse(call, head, x.lse, query + mma_row() + 16 * m + 8 * h);
        METTLE_UNROLL
        for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          scores.p[m][n][e] = dev::fast_exp2(scores.p[m][n][e] * factor - lse);
          scores.u[m][n][e] *= call.scale;
          u[m][h] += scores.p[m][n][e] * scores.u[m][n][e];
        }
      });
    }
    put_part(tiles.part_u, u);
  }

  /// U - u, A and B, and the parts of D and Dd.
  METTLE_DEVICE void make_a_b(MmaHeadScores<Shape>& scores, int first) {
    const int query = first + strip_row(), key = group_key();
    float d[Shape::row_tiles][2] = {}, dd[Shape::row_tiles][2] = {};
    if (key < seen(query)) {
      const T* const own = tiles.g + query * Shape::pitch;
      mma_add_scores<Shape>(scores.a, own, tiles.v + key * Shape::pitch);
      mma_add_scores<Shape>(scores.b, own, tiles.w + key * Shape::pitch);
      if (Extras && call.drops) {
        scores.dropout.draw(call, head, query, key);
        scores.dropout.apply(scores.a, call.kept);
        scores.dropout.apply(scores.b, call.kept);
      }
      mma_each_row<Shape>([&](int m, int h) {
        const float u = whole_sum(tiles.part_u, m, h);
        METTLE_UNROLL
        for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          const float p = scores.p[m][n][e], a = scores.a[m][n][e];
          scores.u[m][n][e] -= u;
          d[m][h] += p * a;
          dd[m][h] += p * (scores.u[m][n][e] * a + scores.b[m][n][e]);
        }
      });
    }
    put_part(tiles.part_d, d);
    put_part(tiles.part_dd, dd);
  }

  METTLE_DEVICE static void store(T* tile, const Scores& scores) {
    mma_put_scores<Shape, Stored>(tile + strip_row() * Stored::pitch + group_key(), scores);
  }
  /// Z o P, T, E and F.
  METTLE_DEVICE void store_products(MmaHeadScores<Shape>& scores) {
    mma_each_row<Shape>([&](int m, int h) {
      const float d = whole_sum(tiles.part_d, m, h), dd = whole_sum(tiles.part_dd, m, h);
      METTLE_UNROLL
      for (int n = 0; n < Shape::column_tiles; ++n) METTLE_UNROLL
      for (int e = 2 * h; e < 2 * h + 2; ++e) {
        const float p = scores.p[m][n][e], centred = scores.a[m][n][e] - d;
        scores.a[m][n][e] = p * centred;
        scores.b[m][n][e] = p * (scores.u[m][n][e] * centred + scores.b[m][n][e] - dd);
      }
    });
    store(tiles.e, scores.a);
    store(tiles.f, scores.b);
    if (Extras && call.drops) scores.dropout.apply(scores.p, call.kept);
    store(tiles.zp, scores.p);
    mma_each<Shape>([&](int m, int n, int e) { scores.u[m][n][e] *= scores.p[m][n][e]; });
    store(tiles.t, scores.u);
  }

  // ---- step 4: a warp has a strip of keys and a share of the columns
  // -----------------------------
  static constexpr int key_strips = Shape::size / Shape::warp_rows;
  METTLE_DEVICE static int own_key() { return dev::warp_index() % key_strips * Shape::warp_rows; }
  METTLE_DEVICE static int key_column() {
    return dev::warp_index() / key_strips * Shape::key_columns;
  }

  METTLE_DEVICE void add_to_keys(typename Shape::KeyColumns& dk2, typename Shape::KeyColumns& dv2,
                                 int first) const {
    const int key = own_key(), at = first * Shape::pitch + key_column();
    if (key >= call.keys) return;
    const int begin = dev::maximum(call.first_viewer(key) - first, 0) / 16 * 16;
    const int end = dev::minimum(call.queries - first, Shape::pass);
    if (x.dk2.data) {
      mma_add_stored<Shape, Stored, true>(dk2, tiles.f + key, tiles.q + at, begin, end);
      mma_add_stored<Shape, Stored, true>(dk2, tiles.e + key, tiles.ddq + at, begin, end);
    }
    if (x.dv2.data)
      mma_add_stored<Shape, Stored, true>(dv2, tiles.t + key, tiles.g + at, begin, end);
  }

  /// Through the rows of k and v, which nobody needs any more.
  METTLE_DEVICE void write_keys(const typename Shape::KeyColumns& dk2,
                                const typename Shape::KeyColumns& dv2) const {
    const int key = own_key(), column = key_column(), at = key * Shape::pitch + column;
    if (x.dk2.data)
      mma_store<Shape>(dk2, call.scale, tiles.k + at, x.dk2, head, key, call.keys, call.head_dim,
                       column);
    if (x.dv2.data)
      mma_store<Shape>(dv2, 1.0f, tiles.v + at, x.dv2, head, key, call.keys, call.value_dim,
                       column);
  }

  // ---- step 5: a warp has a strip of query rows and a share of the columns of one output
  // ---------
  /// out = left0 right0 + left1 right1, through the pass's rows of an operand that nobody needs any
  /// more.
  METTLE_DEVICE void write_query_rows(int first, const T* left0, const T* right0, const T* left1,
                                      const T* right1, float factor, T* stage,
                                      const AttentionOut& out, int cols) const {
    if (!out.data) return;
    const int query = first + strip_row(), column = group() / 2 * Shape::query_columns;
    const int row = strip_row() * Stored::pitch, end = seen(query);
    typename Shape::QueryColumns sum = {};
    mma_add_stored<Shape, Stored, false>(sum, left0 + row, right0 + column, 0, end);
    mma_add_stored<Shape, Stored, false>(sum, left1 + row, right1 + column, 0, end);
    mma_store<Shape>(sum, factor, stage + query * Shape::pitch + column, out, head, query,
                     call.queries, cols, column);
  }
  METTLE_DEVICE void write_queries(int first) const {
    if (group() % 2)
      write_query_rows(first, tiles.t, tiles.v, tiles.zp, tiles.w, 1.0f, tiles.g, x.ddout,
                       call.value_dim);
    else
      write_query_rows(first, tiles.f, tiles.k, tiles.e, tiles.y, call.scale, tiles.q, x.dq2,
                       call.head_dim);
  }
};

/// Grid: heads.
template <class Shape, bool Extras>
METTLE_GLOBAL(Shape::threads)
void attention_mma_double_head(const AttentionCall<float> call, const MmaDoubleOperands x) {
  MmaHead<Shape, Extras> block{call, x, attention_head(dev::block_index().x, call.heads), {}};
  block.load();
  typename Shape::KeyColumns dk2 = {}, dv2 = {};
  dev::wait_copies<1>();
  dev::sync_block();  // q, ddq, k, ddk are in
  for (int first = 0; first < call.queries; first += Shape::pass) {
    MmaHeadScores<Shape> scores;
    block.make_p_u(scores, first);
    dev::wait_copies<0>();
    dev::sync_block();  // dout, v, ddv and the parts of u are in
    block.make_a_b(scores, first);
    dev::sync_block();  // the parts of D and Dd are in, and nobody reads the last pass's products
    block.store_products(scores);
    dev::sync_block();  // the products are in
    block.add_to_keys(dk2, dv2, first);
    dev::sync_block();  // nobody needs this pass's rows of q and dout any more
    block.write_queries(first);
  }
  dev::wait_copies<0>();
  dev::sync_block();  // everybody's copies are in, and nobody needs k and v any more
  block.write_keys(dk2, dv2);
}

}  // namespace mettle::kernels::cuda
