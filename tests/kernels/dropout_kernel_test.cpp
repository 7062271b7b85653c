// Dropout kernel: the rule of engine/random.h element by element, in place, for any number of
// threads. The fused form with residual and layer norm is held against its composite by
// tests/autograd/fused_dropout_test.cpp; here it is held against its parts at sizes of many blocks.
#include "kernels/dropout.h"

#include "kernels/layer_norm.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr PhiloxKey key{0x1234567890abcdefull, 5};

Vec factors(std::int64_t n, double p) {
  Vec out;
  for (std::int64_t i = 0; i < n; ++i)
    out.push_back(dropout_keeps(key.bits(static_cast<std::uint64_t>(i)), drop_threshold(p))
                      ? 1 / (1 - p)
                      : 0);
  return out;
}

TEST(DropoutKernel, FollowsTheRuleElementByElement) {
  for (const DType dtype : float_dtypes)
    for (const std::int64_t n : {0, 1, 3, 517, on_cpu() ? 40000 : 9000})
      for (const double p : {0.0, 0.1, 0.9}) {
        Buffer x(dtype, random_vec(n, 1)), y(dtype, n);
        dropout(stream_under_test(), {dtype, n, p, key, x.data(), y.data()});
        Vec want = x.values();
        const Vec factor = factors(n, p);
        for (std::size_t i = 0; i < want.size(); ++i) want[i] *= factor[i];
        expect_close("dropout", y, Buffer(DType::f64, want), 4);
        dropout(stream_under_test(), {dtype, n, p, key, x.data(), x.data()});
        EXPECT_EQ(x, y) << "in place";
      }
}

TEST(DropoutKernel, SameBitsForAnyNumberOfThreads) {
  const std::int64_t n = on_cpu() ? 100000 : 20000;
  Buffer x(DType::f32, random_vec(n, 1)), once(DType::f32, n), again(DType::f32, n);
  dropout(stream_under_test(), {DType::f32, n, 0.3, key, x.data(), once.data()});
  for (const int count : repeats_under_test()) {
    const Threads threads(count);
    dropout(stream_under_test(), {DType::f32, n, 0.3, key, x.data(), again.data()});
    EXPECT_EQ(once, again) << count;
  }
}

TEST(DropoutKernel, RefusesProbabilitiesOutOfRange) {
  for (const double p : {-0.1, 1.0, std::nan("")})
    EXPECT_THROW(dropout(stream_under_test(), {DType::f32, 0, p, key, nullptr, nullptr}),
                 ValueError);
}

struct Size {
  std::int64_t rows, columns, groups;
};

const std::vector<Size>& sizes() {
  static const std::vector<Size> many{{6, 7, 2}, {320, 33, 32}, {200, 130, 1}, {3, 1025, 1}};
  static const std::vector<Size> few{{6, 7, 2}, {32, 33, 16}, {70, 130, 1}, {3, 1025, 1}};
  return on_cpu() ? many : few;
}

TEST(DropoutResidualLayerNormKernel, EqualsItsPartsAtEveryOrder) {
  for (const Size& s : sizes()) {
    const std::int64_t n = s.rows * s.columns, w = s.groups * s.columns;
    const double p = 0.25, eps = 1e-3;
    const DType t = DType::f64;
    Buffer x(t, random_vec(n, 1)), residual(t, random_vec(n, 2)), gamma(t, random_vec(w, 3)),
        beta(t, random_vec(w, 4)), dy(t, random_vec(n, 5)), ds(t, random_vec(n, 6)),
        ddx(t, random_vec(n, 7)), ddresidual(t, random_vec(n, 8)), ddgamma(t, random_vec(w, 9)),
        ddbeta(t, random_vec(w, 10));
    const auto room = [&](std::int64_t size) { return Buffer(t, size); };
    const auto dropped = [&](Buffer from) {
      Buffer to = room(n);
      dropout(stream_under_test(), {t, n, p, key, from.data(), to.data()});
      return to;
    };
    const auto plus = [&](const Buffer& a, const Buffer& b) {
      Vec sum = a.values();
      const Vec other = b.values();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
      return Buffer(t, sum);
    };

    Buffer sum = room(n), y = room(n), mean = room(s.rows), rstd = room(s.rows);
    dropout_residual_layer_norm_forward(
        stream_under_test(),
        {t, s.rows, s.columns, s.groups, eps, p, key, x.data(), residual.data(), gamma.data(),
         beta.data(), sum.data(), y.data(), mean.data(), rstd.data()});
    Buffer want_y = room(n), want_mean = room(s.rows), want_rstd = room(s.rows);
    Buffer want_sum = plus(residual, dropped(x));
    layer_norm_forward(stream_under_test(),
                       {t, s.rows, s.columns, s.groups, eps, want_sum.data(), gamma.data(),
                        beta.data(), want_y.data(), want_mean.data(), want_rstd.data()});
    expect_close("s", sum, want_sum, 2);
    expect_close("y", y, want_y, 64);

    Buffer dx = room(n), dresidual = room(n), dgamma = room(w), dbeta = room(w);
    dropout_residual_layer_norm_backward(
        stream_under_test(),
        {t, s.rows, s.columns, s.groups, p, key, sum.data(), gamma.data(), mean.data(), rstd.data(),
         dy.data(), ds.data(), dx.data(), dresidual.data(), dgamma.data(), dbeta.data()});
    Buffer through = room(n), want_dgamma = room(w), want_dbeta = room(w);
    layer_norm_backward(
        stream_under_test(),
        {t, s.rows, s.columns, s.groups, sum.data(), gamma.data(), mean.data(), rstd.data(),
         dy.data(), through.data(), want_dgamma.data(), want_dbeta.data()});
    const Buffer want_dresidual = plus(through, ds);
    const double many = 64 + 2 * static_cast<double>(s.rows);
    expect_close("dresidual", dresidual, want_dresidual, 64);
    expect_close("dx", dx, dropped(want_dresidual), 64);
    expect_close("dgamma", dgamma, want_dgamma, many);
    expect_close("dbeta", dbeta, want_dbeta, many);

    Buffer dx2 = room(n), dresidual2 = room(n), dgamma2 = room(w), ddy = room(n), dds = room(n);
    dropout_residual_layer_norm_double_backward(stream_under_test(), {t,
                                                                      s.rows,
                                                                      s.columns,
                                                                      s.groups,
                                                                      p,
                                                                      key,
                                                                      sum.data(),
                                                                      gamma.data(),
                                                                      mean.data(),
                                                                      rstd.data(),
                                                                      dy.data(),
                                                                      ddx.data(),
                                                                      ddresidual.data(),
                                                                      ddgamma.data(),
                                                                      ddbeta.data(),
                                                                      dx2.data(),
                                                                      dresidual2.data(),
                                                                      dgamma2.data(),
                                                                      ddy.data(),
                                                                      dds.data()});
    Buffer u = plus(ddresidual, dropped(ddx)), want_ds2 = room(n), want_dgamma2 = room(w),
           want_ddy = room(n);
    layer_norm_double_backward(
        stream_under_test(), {t, s.rows, s.columns, s.groups, sum.data(), gamma.data(), mean.data(),
                              rstd.data(), dy.data(), u.data(), ddgamma.data(), ddbeta.data(),
                              want_ds2.data(), want_dgamma2.data(), want_ddy.data()});
    expect_close("dds", dds, u, 2);
    expect_close("ddy", ddy, want_ddy, 64);
    expect_close("dresidual2", dresidual2, want_ds2, 64);
    expect_close("dx2", dx2, dropped(want_ds2), 64);
    expect_close("dgamma2", dgamma2, want_dgamma2, many);
  }
}

}  // namespace
}  // namespace mettle::test
