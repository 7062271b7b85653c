// Dropout: linear, and its own adjoint with the same key.
#include "kernels/dropout.h"

#include "autograd/fused.h"
#include "autograd/ops/support.h"

namespace mettle {

Variable dropout(const Variable& x, double p, const RandomKey& key) {
  METTLE_CHECK(ValueError, 0.0 <= p && p < 1.0, "dropout: the probability {} is outside [0, 1)", p);
  ops::check_floating(x.value(), "dropout");
  const Tensor in = ops::dense(x.value());
  Tensor y = Tensor::empty(in.shape(), in.dtype(), in.device());
  kernels::dropout(
      current_stream(in.device()),
      {in.dtype(), in.numel(), p, key.on(in.device(), "dropout"), in.data(), y.data()});
  return record("dropout", std::move(y), {&x},
                [p, key](const Backward& g) -> Variables { return {dropout(g.dy(), p, key)}; });
}

}  // namespace mettle
