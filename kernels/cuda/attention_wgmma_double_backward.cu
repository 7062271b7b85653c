// Attention double backward by wgmma, and its first kernel alone: instances by dtype, head dims and
// extras, and the maps of their operands.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_wgmma_double_backward.cuh"
#include "kernels/cuda/attention_wgmma_launch.h"

namespace mettle::kernels::cuda {
namespace {

// Four tiles of scores beside the sums, of which the kernel that owns keys has two.
template <class T, int Dims, bool Extras>
using DoubleQueries = WgmmaShape<T, Dims, (Extras && Dims > 64) ? 32 : 64>;
constexpr int keys_block(int dims, bool extras) {
  if (dims <= 64) return extras ? 32 : 64;
  return extras && dims > 96 ? 16 : 32;
}
template <class T, int Dims, bool Extras>
using DoubleKeys = WgmmaShape<T, Dims, keys_block(Dims, Extras)>;

// Own or walked operands of a kernel, in the order in which they are added. An absent one reads as
// zeros; `other` is one that is there and has its rows.
template <class Shape> class Maps {
 public:
  Maps(const AttentionProblem& problem, dev::TensorMap* maps, int* left, int box_rows)
      : problem_(problem), maps_(maps), left_(left), box_rows_(box_rows) {}
  Maps& add(const AttentionIn& x, const AttentionIn& other, std::int64_t rows, std::int64_t cols) {
    *maps_++ = wgmma_map<Shape>(problem_, x.data ? x : other, rows, cols, box_rows_);
    *left_++ = x.data ? 0 : Shape::dims;
    return *this;
  }
  Maps& add(const AttentionIn& x, std::int64_t rows, std::int64_t cols) {
    return add(x, x, rows, cols);
  }
  /// q, x, dout.
  void add_queries(const AttentionDoubleBackwardArgs& a) {
    const std::int64_t rows = problem_.queries;
    add(a.q, rows, problem_.head_dim).add(a.ddq, a.q, rows, problem_.head_dim);
    add(a.dout, a.out, rows, problem_.value_dim);
  }
  /// k, y, v, w.
  void add_keys(const AttentionDoubleBackwardArgs& a) {
    const std::int64_t rows = problem_.keys;
    add(a.k, rows, problem_.head_dim).add(a.ddk, a.k, rows, problem_.head_dim);
    add(a.v, rows, problem_.value_dim).add(a.ddv, a.v, rows, problem_.value_dim);
  }

 private:
  const AttentionProblem& problem_;
  dev::TensorMap* maps_;
  int* left_;
  int box_rows_;
};

template <class Shape>
WgmmaDoubleQueriesOperands queries_operands(const AttentionDoubleBackwardArgs& a,
                                            const AttentionOut& to, std::int64_t cols,
                                            WgmmaStatistics<MmaTangentStatistics> statistics) {
  const AttentionProblem& p = a.problem;
  WgmmaDoubleQueriesOperands x = {};
  Maps<Shape>(p, x.maps.own, x.maps.own_left, Shape::group_rows).add_queries(a);
  Maps<Shape>(p, x.maps.walked, x.maps.walked_left, Shape::block).add_keys(a);
  x.wants_to = to.data != nullptr;
  if (x.wants_to) x.to = wgmma_map<Shape>(p, to, p.queries, cols, Shape::group_rows);
  x.out = a.out;
  x.lse = static_cast<const float*>(a.lse);
  x.statistics = statistics;
  return x;
}

template <class Shape>
WgmmaDoubleKeysOperands keys_operands(const AttentionDoubleBackwardArgs& a,
                                      WgmmaStatistics<MmaTangentStatistics> statistics) {
  const AttentionProblem& p = a.problem;
  WgmmaDoubleKeysOperands x = {};
  Maps<Shape>(p, x.maps.own, x.maps.own_left, Shape::group_rows).add_keys(a);
  Maps<Shape>(p, x.maps.walked, x.maps.walked_left, Shape::block).add_queries(a);
  x.wants_dk2 = a.dk2.data != nullptr;
  x.wants_dv2 = a.dv2.data != nullptr;
  if (x.wants_dk2) x.dk2 = wgmma_map<Shape>(p, a.dk2, p.keys, p.head_dim, Shape::group_rows);
  if (x.wants_dv2) x.dv2 = wgmma_map<Shape>(p, a.dv2, p.keys, p.value_dim, Shape::group_rows);
  x.statistics = statistics;
  return x;
}

template <class Shape, bool Extras, bool WithDout>
void launch_tangent(const Stream& stream, const AttentionDoubleBackwardArgs& a,
                    WgmmaStatistics<MmaTangentStatistics> statistics) {
  const AttentionProblem& p = a.problem;
  launch_mma(attention_wgmma_tangent<Shape, Extras, WithDout>, Shape{}, stream, p, p.queries,
             Shape::shared_bytes(3, 4),
             queries_operands<Shape>(a, a.ddout, p.value_dim, statistics));
}

}  // namespace

void attention_jvp_wgmma(const Stream& stream, const AttentionJvpArgs& args) {
  cpu::attention::check_call(args, "attention_jvp");
  if (!args.tangent_out.data) return;
  const AttentionDoubleBackwardArgs twice = tangent_of_double_backward(args);
  with_mma_type(args.problem, [&]<class T, int Dims, bool Extras>() {
    launch_tangent<DoubleQueries<T, Dims, Extras>, Extras, false>(stream, twice, {});
  });
}

void attention_double_backward_wgmma(const Stream& stream,
                                     const AttentionDoubleBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Queries = DoubleQueries<T, Dims, Extras>;
    using Keys = DoubleKeys<T, Dims, Extras>;
    static_assert(Queries::rows % Keys::block == 0, "a tile of statistics lies in its head");
    const WgmmaScratch<Queries, MmaTangentStatistics> scratch(stream, p);
    const auto statistics = scratch.statistics();
    launch_tangent<Queries, Extras, true>(stream, args, statistics);
    if (args.dq2.data)
      launch_mma(attention_wgmma_double_queries<Queries, Extras>, Queries{}, stream, p, p.queries,
                 Queries::shared_bytes(3, 4),
                 queries_operands<Queries>(args, args.dq2, p.head_dim, statistics));
    if (args.dk2.data || args.dv2.data)
      launch_mma(attention_wgmma_double_keys<Keys, Extras>, Keys{}, stream, p, p.keys,
                 Keys::shared_bytes(4, 3, Keys::block * sizeof(MmaTangentStatistics)),
                 keys_operands<Keys>(args, statistics));
  });
}

}  // namespace mettle::kernels::cuda
