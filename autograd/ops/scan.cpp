// Running sums and reversed axes. The adjoint of a running sum is a running sum from the other end.
#include "kernels/scan.h"

#include "autograd/ops/support.h"
#include "kernels/copy.h"

namespace mettle {

Variable cumsum(const Variable& x, int axis) {
  const int at = normalize_axis(axis, x.rank(), "cumsum");
  ops::check_arithmetic(x.value(), "cumsum");
  const Tensor in = ops::dense(x.value());
  const ops::Lines lines = ops::lines_of(in.shape(), at);
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
  kernels::cumsum(current_stream(in.device()),
                  {in.dtype(), lines.outer, lines.size, lines.inner, in.data(), y.data()});
  return record("cumsum", std::move(y), {&x}, [at](const Backward& g) -> Variables {
    return {flip(cumsum(flip(g.dy(), at), at), at)};
  });
}

Variable flip(const Variable& x, int axis) {
  const int at = normalize_axis(axis, x.rank(), "flip");
  const Tensor& t = x.value();
  Tensor y = Tensor::empty(t.shape(), t.dtype(), t.device());
  if (y.numel() > 0) {
    // The source is read from the far end of the axis, backwards.
    Strides strides = t.strides();
    const Tensor last = t.slice(at, t.size(at) - 1, t.size(at));
    strides[at] = -strides[at];
    kernels::copy(current_stream(t.device()),
                  {last.data(), y.data(), t.dtype(), t.dtype(), t.shape(), strides, y.strides()});
  }
  return record("flip", std::move(y), {&x},
                [at](const Backward& g) -> Variables { return {flip(g.dy(), at)}; });
}

}  // namespace mettle
