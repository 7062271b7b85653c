// Both forms of the normal equations of ridge regression.
#include "models/ridge.h"

#include "autograd/ops.h"
#include "engine/check.h"

namespace mettle {

Variable ridge_regression(const Variable& x, const Variable& y, const Variable& penalty) {
  METTLE_CHECK(ShapeError,
               x.rank() >= 2 && y.rank() == x.rank() &&
                   Shape(x.shape().span().first(x.shape().size() - 1)) ==
                       Shape(y.shape().span().first(y.shape().size() - 1)),
               "ridge_regression: rows {} and targets {}; expected (..., n, d) and (..., n, m)",
               to_string(x.shape()), to_string(y.shape()));
  METTLE_CHECK(ShapeError, penalty.numel() == 1,
               "ridge_regression: the penalty has shape {}; it is one number",
               to_string(penalty.shape()));
  METTLE_CHECK(ValueError, penalty.item() > 0, "ridge_regression: the penalty {} is not positive",
               penalty.item());
  const std::int64_t n = x.size(-2), d = x.size(-1);
  const Variable xt = transpose(x, -2, -1);
  const auto solve = [&](const Variable& gram, std::int64_t size, const Variable& right) {
    const Variable ridge = mul(reshape(penalty, {}), eye(size, x.dtype(), x.device()));
    return cholesky_solve(cholesky(add(gram, ridge)), right);
  };
  return d <= n ? solve(matmul(xt, x), d, matmul(xt, y)) : matmul(xt, solve(matmul(x, xt), n, y));
}

}  // namespace mettle
