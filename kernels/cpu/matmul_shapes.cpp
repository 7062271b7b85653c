// Merging of batch axes: fewer axes mean fewer, larger products.
#include "kernels/cpu/matmul_shapes.h"

#include "kernels/cpu/tiles.h"

namespace mettle::kernels::cpu {

MatmulArgs merge_batch(const MatmulArgs& args) {
  if (args.batch.empty()) return args;
  MatmulArgs out = args;
  const Strides bias =
      args.epilogue.bias ? args.epilogue.bias_batch : Strides::filled(args.batch.rank(), 0);
  const Layout<3> l = collapse<3>(args.batch, {&args.a_batch, &args.b_batch, &bias});
  const auto rank = static_cast<std::size_t>(l.rank);
  out.batch = Shape(std::span(l.shape, rank));
  out.a_batch = Strides(std::span(l.strides[0], rank));
  out.b_batch = Strides(std::span(l.strides[1], rank));
  out.epilogue.bias_batch = Strides(std::span(l.strides[2], rank));
  if (l.total == 0) out.batch = {0};
  if (l.rank == 1 && l.strides[1][0] == 0 && l.strides[2][0] == 0 &&
      (l.strides[0][0] == args.m * args.a_row || args.m == 1)) {
    if (args.m == 1) out.a_row = l.strides[0][0];
    out.m *= l.shape[0];
    out.batch = out.a_batch = out.b_batch = out.epilogue.bias_batch = {};
  }
  return out;
}

MatmulOffsets batch_offsets(const MatmulArgs& args, std::int64_t index) {
  MatmulOffsets at{};
  for (int axis = args.batch.rank() - 1; axis >= 0; --axis) {
    const std::int64_t i = index % args.batch[axis];
    index /= args.batch[axis];
    at.a += i * args.a_batch[axis];
    at.b += i * args.b_batch[axis];
    at.bias += i * args.epilogue.bias_batch[axis];
  }
  return at;
}

}  // namespace mettle::kernels::cpu
