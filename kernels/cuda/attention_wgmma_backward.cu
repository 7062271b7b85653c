// Attention backward by wgmma: instances by dtype, head dims and extras, and the maps of its
// operands.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_wgmma_backward.cuh"
#include "kernels/cuda/attention_wgmma_launch.h"

namespace mettle::kernels::cuda {
namespace {

// Tiles as tall as registers allow; the kernel that owns keys has sums of two gradients.
template <class T, int Dims, bool Extras>
using BackwardQueries = WgmmaShape<T, Dims, Extras ? 64 : 128>;
constexpr int keys_block(int dims, bool extras) {
  if (dims <= 64) return extras ? 64 : 128;
  return extras && dims > 96 ? 32 : 64;
}
template <class T, int Dims, bool Extras>
using BackwardKeys = WgmmaShape<T, Dims, keys_block(Dims, Extras)>;

template <class Shape>
WgmmaQueriesOperands queries_operands(const AttentionBackwardArgs& a,
                                      WgmmaStatistics<MmaRowStatistics> statistics) {
  const AttentionProblem& p = a.problem;
  WgmmaQueriesOperands x = {};
  x.maps.own[0] = wgmma_map<Shape>(p, a.q, p.queries, p.head_dim, Shape::group_rows);
  x.maps.own[1] = wgmma_map<Shape>(p, a.dout, p.queries, p.value_dim, Shape::group_rows);
  x.maps.walked[0] = wgmma_map<Shape>(p, a.k, p.keys, p.head_dim, Shape::block);
  x.maps.walked[1] = wgmma_map<Shape>(p, a.v, p.keys, p.value_dim, Shape::block);
  x.wants_dq = a.dq.data != nullptr;
  if (x.wants_dq) x.dq = wgmma_map<Shape>(p, a.dq, p.queries, p.head_dim, Shape::group_rows);
  x.out = a.out;
  x.dout = a.dout;
  x.lse = static_cast<const float*>(a.lse);
  x.statistics = statistics;
  return x;
}

template <class Shape>
WgmmaKeysOperands keys_operands(const AttentionBackwardArgs& a,
                                WgmmaStatistics<MmaRowStatistics> statistics) {
  const AttentionProblem& p = a.problem;
  WgmmaKeysOperands x = {};
  x.maps.own[0] = wgmma_map<Shape>(p, a.k, p.keys, p.head_dim, Shape::group_rows);
  x.maps.own[1] = wgmma_map<Shape>(p, a.v, p.keys, p.value_dim, Shape::group_rows);
  x.maps.walked[0] = wgmma_map<Shape>(p, a.q, p.queries, p.head_dim, Shape::block);
  x.maps.walked[1] = wgmma_map<Shape>(p, a.dout, p.queries, p.value_dim, Shape::block);
  x.wants_dk = a.dk.data != nullptr;
  x.wants_dv = a.dv.data != nullptr;
  if (x.wants_dk) x.dk = wgmma_map<Shape>(p, a.dk, p.keys, p.head_dim, Shape::group_rows);
  if (x.wants_dv) x.dv = wgmma_map<Shape>(p, a.dv, p.keys, p.value_dim, Shape::group_rows);
  x.statistics = statistics;
  return x;
}

}  // namespace

void attention_backward_wgmma(const Stream& stream, const AttentionBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_backward");
  const AttentionProblem& p = args.problem;
  with_mma_type(p, [&]<class T, int Dims, bool Extras>() {
    using Queries = BackwardQueries<T, Dims, Extras>;
    using Keys = BackwardKeys<T, Dims, Extras>;
    static_assert(Queries::rows % Keys::block == 0, "a tile of statistics lies in its head");
    const WgmmaScratch<Queries, MmaRowStatistics> scratch(stream, p);
    launch_mma(attention_wgmma_backward_queries<Queries, Extras>, Queries{}, stream, p, p.queries,
               Queries::shared_bytes(2, 2), queries_operands<Queries>(args, scratch.statistics()));
    if (args.dk.data || args.dv.data)
      launch_mma(attention_wgmma_backward_keys<Keys, Extras>, Keys{}, stream, p, p.keys,
                 Keys::shared_bytes(2, 2, Keys::block * sizeof(MmaRowStatistics)),
                 keys_operands<Keys>(args, scratch.statistics()));
  });
}

}  // namespace mettle::kernels::cuda
