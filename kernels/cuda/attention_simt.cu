// Attention by plain FMA, variant "simt": instances by type of sums and largest head dim. Tiles
// shrink as head dims grow, so that a block's operands fit its shared memory.
#include "kernels/cpu/attention_check.h"
#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/attention_simt_backward.cuh"
#include "kernels/cuda/attention_simt_double_backward.cuh"
#include "kernels/cuda/attention_simt_forward.cuh"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

// Calls f with the shape that takes the head dims. `Wide`: kernels with four or five operand tiles.
template <bool Wide, class F> void with_simt_shape(const AttentionProblem& p, F&& f) {
  const std::int64_t dims = p.head_dim < p.value_dim ? p.value_dim : p.head_dim;
  if (p.dtype == DType::f64) {
    if (dims <= 64) return f(SimtShape<double, 64, 2>{});
    return f(SimtShape<double, 256, 1>{});
  }
  if (dims <= 64) return f(SimtShape<float, 64, 4>{});
  if (dims <= 128) return f(SimtShape < float, 128, Wide ? 2 : 4 > {});
  return f(SimtShape < float, 256, Wide ? 1 : 2 > {});
}

template <class A> int pitch_of(const AttentionProblem& p) {
  const std::int64_t dims = p.head_dim < p.value_dim ? p.value_dim : p.head_dim;
  return simt_pitch<A>(static_cast<int>(dims));
}

// One block per tile of `rows` out of n rows of every head; nothing to launch when there is none.
template <class Shape, class... Parameters, class... Arguments>
void launch_tiles(void (*kernel)(AttentionCall<typename Shape::Sum>, Parameters...), Shape,
                  const Stream& stream, const AttentionProblem& p, std::int64_t n, int operands,
                  int score_tiles, const Arguments&... arguments) {
  using A = typename Shape::Sum;
  const std::int64_t tiles = attention_tiles(n, Shape::rows);
  const std::int64_t blocks = tiles * p.batch * p.heads;
  if (blocks == 0) return;
  const int bytes = Shape::shared_bytes(operands, score_tiles, pitch_of<A>(p));
  dev::launch(
      kernel,
      {{static_cast<int>(blocks), 1, 1}, {Shape::threads, 1, 1}, static_cast<std::size_t>(bytes)},
      stream, attention_call<A>(p), arguments..., pitch_of<A>(p), static_cast<int>(tiles));
}

}  // namespace

void attention_forward_simt(const Stream& stream, const AttentionForwardArgs& args) {
  cpu::attention::check_call(args, "attention_forward");
  const AttentionProblem& p = args.problem;
  with_simt_shape<false>(p, [&]<class Shape>(Shape shape) {
    using A = typename Shape::Sum;
    const AttentionForwardOperands<A> x{args.q, args.k, args.v, args.out,
                                        static_cast<A*>(args.lse)};
    launch_tiles(attention_simt_forward<Shape>, shape, stream, p, p.queries, 2, 1, x);
  });
}

// The first sweep of the double backward's rows.
void attention_jvp_simt(const Stream& stream, const AttentionJvpArgs& args) {
  cpu::attention::check_call(args, "attention_jvp");
  const AttentionProblem& p = args.problem;
  if (!args.tangent_out.data) return;
  with_simt_shape<true>(p, [&]<class Shape>(Shape shape) {
    using A = typename Shape::Sum;
    AttentionDoubleOperands<A> x = {};
    x.q = args.q;
    x.k = args.k;
    x.v = args.v;
    x.ddq = args.tangent_q;
    x.ddk = args.tangent_k;
    x.ddv = args.tangent_v;
    x.lse = static_cast<const A*>(args.lse);
    x.ddout = args.tangent_out;
    launch_tiles(attention_simt_double_rows<Shape>, shape, stream, p, p.queries, 4, 2, x);
  });
}

void attention_backward_simt(const Stream& stream, const AttentionBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_backward");
  const AttentionProblem& p = args.problem;
  const std::int64_t rows = p.batch * p.heads * p.queries;
  // In 16 bits the output is too coarse for D.
  const bool d_from_out = args.out.data && (p.dtype == DType::f64 || p.dtype == DType::f32);
  with_simt_shape<false>(p, [&]<class Shape>(Shape shape) {
    using A = typename Shape::Sum;
    Scratch scratch(stream, static_cast<std::size_t>(rows) * sizeof(A));
    const AttentionBackwardOperands<A> x{args.q,    args.k,
                                         args.v,    args.out,
                                         args.dout, static_cast<const A*>(args.lse),
                                         args.dq,   args.dk,
                                         args.dv,   scratch.take<A>(static_cast<std::size_t>(rows)),
                                         d_from_out};
    launch_tiles(attention_simt_backward_rows<Shape>, shape, stream, p, p.queries, 3, 1, x);
    if (args.dk.data || args.dv.data)
      launch_tiles(attention_simt_backward_keys<Shape>, shape, stream, p, p.keys, 3, 1, x);
  });
}

void attention_double_backward_simt(const Stream& stream, const AttentionDoubleBackwardArgs& args) {
  cpu::attention::check_call(args, "attention_double_backward");
  const AttentionProblem& p = args.problem;
  const auto rows = static_cast<std::size_t>(p.batch * p.heads * p.queries);
  with_simt_shape<true>(p, [&]<class Shape>(Shape shape) {
    using A = typename Shape::Sum;
    Scratch scratch(stream, 3 * (rows * sizeof(A) + 256));
    const AttentionDoubleOperands<A> x{args.q,
                                       args.k,
                                       args.v,
                                       args.dout,
                                       args.ddq,
                                       args.ddk,
                                       args.ddv,
                                       static_cast<const A*>(args.lse),
                                       args.dq2,
                                       args.dk2,
                                       args.dv2,
                                       args.ddout,
                                       scratch.take<A>(rows),
                                       scratch.take<A>(rows),
                                       scratch.take<A>(rows)};
    launch_tiles(attention_simt_double_rows<Shape>, shape, stream, p, p.queries, 4, 2, x);
    if (args.dk2.data || args.dv2.data)
      launch_tiles(attention_simt_double_keys<Shape>, shape, stream, p, p.keys, 5, 1, x);
  });
}

}  // namespace mettle::kernels::cuda
