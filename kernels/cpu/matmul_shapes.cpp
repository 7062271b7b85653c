// Merging of batch axes: fewer axes mean fewer, larger products.
#include "kernels/cpu/matmul_shapes.h"

#include "kernels/cpu/tiles.h"

namespace mettle::kernels::cpu {

MatmulArgs merge_batch(const MatmulArgs& args) {
  if (args.batch.empty()) return args;
  MatmulArgs out = args;
  const Layout<2> l = collapse<2>(args.batch, {&args.a_batch, &args.b_batch});
  out.batch = Shape(std::span(l.shape, static_cast<std::size_t>(l.rank)));
  out.a_batch = Strides(std::span(l.strides[0], static_cast<std::size_t>(l.rank)));
  out.b_batch = Strides(std::span(l.strides[1], static_cast<std::size_t>(l.rank)));
  if (l.total == 0) out.batch = {0};
  if (l.rank == 1 && l.strides[1][0] == 0 &&
      (l.strides[0][0] == args.m * args.a_row || args.m == 1)) {
    if (args.m == 1) out.a_row = l.strides[0][0];
    out.m *= l.shape[0];
    out.batch = out.a_batch = out.b_batch = {};
  }
  return out;
}

std::pair<std::int64_t, std::int64_t> batch_offsets(const MatmulArgs& args, std::int64_t index) {
  std::int64_t a = 0, b = 0;
  for (int axis = args.batch.rank() - 1; axis >= 0; --axis) {
    const std::int64_t i = index % args.batch[axis];
    index /= args.batch[axis];
    a += i * args.a_batch[axis];
    b += i * args.b_batch[axis];
  }
  return {a, b};
}

}  // namespace mettle::kernels::cpu
