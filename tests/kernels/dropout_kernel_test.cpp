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

TEST(DropoutKernel, AStoredKeyDropsTheSame) {
  const Array<std::uint64_t> stored({key.seed, key.offset});
  for (const DType dtype : float_dtypes) {
    Buffer x(dtype, random_vec(9001, 1)), want(dtype, 9001), got(dtype, 9001);
    dropout(stream_under_test(), {dtype, 9001, 0.4, key, x.data(), want.data()});
    dropout(stream_under_test(), {dtype, 9001, 0.4, {1, 2, stored.data()}, x.data(), got.data()});
    EXPECT_EQ(got, want) << to_string(dtype);
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

// Ragged rows and rows of whole packs, of every way that a row can go on a device: by a warp, by a
// block, again and again from memory.
const std::vector<Size>& sizes() {
  static const std::vector<Size> many{{6, 7, 2},    {320, 33, 32}, {200, 130, 1},
                                      {3, 1025, 1}, {40, 64, 4},   {90, 264, 1},
                                      {5, 1032, 1}, {2, 4104, 1},  {1, 8200, 1}};
  static const std::vector<Size> few{{6, 7, 2},    {32, 33, 16}, {70, 130, 1},
                                     {3, 1025, 1}, {40, 64, 4},  {20, 264, 1},
                                     {3, 1032, 1}, {1, 4104, 1}, {1, 8200, 1}};
  return on_cpu() ? many : few;
}

constexpr double p = 0.25, eps = 1e-3;

/// All operands of one size; outputs are filled by run().
struct Fused {
  Fused(const Size& s, DType t)
      : size(s),
        dtype(t),
        n(s.rows * s.columns),
        w(s.groups * s.columns),
        x(t, random_vec(n, 1)),
        residual(t, random_vec(n, 2)),
        gamma(t, random_vec(w, 3)),
        beta(t, random_vec(w, 4)),
        dy(t, random_vec(n, 5)),
        ds(t, random_vec(n, 6)),
        ddx(t, random_vec(n, 7)),
        ddresidual(t, random_vec(n, 8)),
        ddgamma(t, random_vec(w, 9)),
        ddbeta(t, random_vec(w, 10)),
        mean(statistics_dtype(t), s.rows),
        rstd(statistics_dtype(t), s.rows) {
    for (Buffer* out : {&sum, &y, &dx, &dresidual, &dx2, &dresidual2, &ddy, &dds})
      *out = Buffer(t, n);
    for (Buffer* out : {&dgamma, &dbeta, &dgamma2}) *out = Buffer(t, w);
  }

  void run(const PhiloxKey& from = key) {
    const Stream stream = stream_under_test();
    dropout_residual_layer_norm_forward(
        stream,
        {dtype, size.rows, size.columns, size.groups, eps, p, from, x.data(), residual.data(),
         gamma.data(), beta.data(), sum.data(), y.data(), mean.data(), rstd.data()});
    dropout_residual_layer_norm_backward(
        stream, {dtype, size.rows, size.columns, size.groups, p, from, sum.data(), gamma.data(),
                 mean.data(), rstd.data(), dy.data(), ds.data(), dx.data(), dresidual.data(),
                 dgamma.data(), dbeta.data()});
    dropout_residual_layer_norm_double_backward(
        stream, {dtype,      size.rows,         size.columns,      size.groups,    p,
                 from,       sum.data(),        gamma.data(),      mean.data(),    rstd.data(),
                 dy.data(),  ddx.data(),        ddresidual.data(), ddgamma.data(), ddbeta.data(),
                 dx2.data(), dresidual2.data(), dgamma2.data(),    ddy.data(),     dds.data()});
  }
  std::vector<Buffer> outputs() const {
    return {sum, y, mean, rstd, dx, dresidual, dgamma, dbeta, dx2, dresidual2, dgamma2, ddy, dds};
  }

  Size size;
  DType dtype;
  std::int64_t n, w;
  Buffer x, residual, gamma, beta, dy, ds, ddx, ddresidual, ddgamma, ddbeta, mean, rstd;
  Buffer sum{DType::f32, 0}, y = sum, dx = sum, dresidual = sum, dgamma = sum, dbeta = sum;
  Buffer dx2 = sum, dresidual2 = sum, dgamma2 = sum, ddy = sum, dds = sum;
};

/// Its parts, in f64 on the CPU, from the sum as it was stored.
void expect_parts(const Fused& f) {
  const OnCpu cpu;
  const Stream stream = stream_under_test();
  const Size& s = f.size;
  const DType t = DType::f64;
  const auto wide = [&](const Buffer& b) { return Buffer(t, b.values()); };
  const auto dropped = [&](const Buffer& from) {
    Buffer to(t, f.n);
    dropout(stream, {t, f.n, p, key, from.data(), to.data()});
    return to;
  };
  const auto plus = [&](const Buffer& a, const Buffer& b) {
    Vec total = a.values();
    const Vec other = b.values();
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += other[i];
    return Buffer(t, total);
  };
  const double row = 64 + 4 * std::sqrt(static_cast<double>(s.columns));
  const double many = row + 4 * static_cast<double>(s.rows);

  expect_close("s", f.sum, plus(f.residual, dropped(wide(f.x))), 2);
  Buffer sum = wide(f.sum), gamma = wide(f.gamma), beta = wide(f.beta), dy = wide(f.dy);
  Buffer y(t, f.n), mean(t, s.rows), rstd(t, s.rows);
  layer_norm_forward(stream, {t, s.rows, s.columns, s.groups, eps, sum.data(), gamma.data(),
                              beta.data(), y.data(), mean.data(), rstd.data()});
  expect_close("mean", f.mean, mean, row);
  expect_close("rstd", f.rstd, rstd, row);
  expect_close("y", f.y, y, row);

  Buffer through(t, f.n), dgamma(t, f.w), dbeta(t, f.w);
  layer_norm_backward(
      stream, {t, s.rows, s.columns, s.groups, sum.data(), gamma.data(), mean.data(), rstd.data(),
               dy.data(), through.data(), dgamma.data(), dbeta.data()});
  const Buffer dresidual = plus(through, f.ds);
  expect_close("dresidual", f.dresidual, dresidual, row);
  expect_close("dx", f.dx, dropped(dresidual), row);
  expect_close("dgamma", f.dgamma, dgamma, many);
  expect_close("dbeta", f.dbeta, dbeta, many);

  Buffer u = plus(f.ddresidual, dropped(wide(f.ddx))), ds2(t, f.n), dgamma2(t, f.w), ddy(t, f.n);
  Buffer ddgamma = wide(f.ddgamma), ddbeta = wide(f.ddbeta);
  layer_norm_double_backward(stream, {t, s.rows, s.columns, s.groups, sum.data(), gamma.data(),
                                      mean.data(), rstd.data(), dy.data(), u.data(), ddgamma.data(),
                                      ddbeta.data(), ds2.data(), dgamma2.data(), ddy.data()});
  expect_close("dds", f.dds, u, 2);
  expect_close("ddy", f.ddy, ddy, row);
  expect_close("dresidual2", f.dresidual2, ds2, row);
  expect_close("dx2", f.dx2, dropped(ds2), row);
  expect_close("dgamma2", f.dgamma2, dgamma2, many);
}

TEST(DropoutResidualLayerNormKernel, EqualsItsPartsAtEveryOrder) {
  for (const DType dtype : float_dtypes)
    for (const Size& size : sizes()) {
      Fused fused(size, dtype);
      fused.run();
      SCOPED_TRACE(fmt::format("{} x {}", size.rows, size.columns));
      expect_parts(fused);
    }
}

TEST(DropoutResidualLayerNormKernel, AStoredKeyDropsTheSame) {
  const Array<std::uint64_t> stored({key.seed, key.offset});
  for (const DType dtype : float_dtypes)
    for (const Size& size : {Size{40, 64, 4}, Size{20, 130, 1}, Size{3, 1032, 1}}) {
      Fused want(size, dtype), got(size, dtype);
      want.run();
      got.run({1, 2, stored.data()});
      EXPECT_TRUE(got.outputs() == want.outputs()) << to_string(dtype) << " " << size.columns;
    }
}

TEST(DropoutResidualLayerNormKernel, SameBitsOnRepeat) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Size& size : {Size{40, 64, 4}, Size{70, 130, 1}, Size{3, 1032, 1}}) {
      std::vector<std::vector<Buffer>> runs;
      for (const int count : repeats_under_test()) {
        const Threads threads(count);
        Fused fused(size, dtype);
        fused.run();
        runs.push_back(fused.outputs());
      }
      for (const auto& run : runs) EXPECT_TRUE(run == runs[0]) << size.columns;
    }
}

}  // namespace
}  // namespace mettle::test
