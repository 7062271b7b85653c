// Layer norm kernels: against the f64 oracle, against numeric derivatives, bit-stable, and safe
// with null outputs and empty sizes.
#include "kernels/layer_norm.h"

#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct Case {
  std::int64_t rows, columns, groups;
  bool gamma, beta;
};

// Of every way that a row can go: by a warp, by a block, again and again from memory; ragged;
// several rows for each block.
const std::vector<Case>& cases() {
  static const std::vector<Case> many{
      {1, 1, 1, true, true},     {3, 5, 1, true, true},      {7, 16, 1, false, false},
      {12, 32, 4, true, true},   {320, 32, 32, true, true},  {9, 33, 3, true, false},
      {5, 768, 1, true, true},   {150, 257, 1, false, true}, {700, 96, 7, true, true},
      {2, 20001, 2, true, true}, {0, 8, 2, true, true},      {3, 4608, 1, true, true},
      {9, 1536, 1, true, true},  {4, 8200, 2, false, true}};
  static const std::vector<Case> few{
      {1, 1, 1, true, true},     {3, 5, 1, true, true},    {7, 16, 1, false, false},
      {12, 32, 4, true, true},   {9, 33, 3, true, false},  {3, 768, 1, true, true},
      {70, 257, 1, false, true}, {161, 96, 7, true, true}, {2, 5001, 2, true, true},
      {0, 8, 2, true, true},     {2, 4608, 1, true, true}, {3, 1536, 1, true, true},
      {1, 8200, 1, false, true}};
  return on_cpu() ? many : few;
}

/// All operands of one case. Inputs are random, outputs are filled by run().
struct Problem {
  Problem(const Case& c, DType t)
      : size(c),
        dtype(t),
        x(t, random_vec(c.rows * c.columns, 1, -2, 3)),
        gamma(t, random_vec(c.groups * c.columns, 2, 0.5, 1.5)),
        beta(t, random_vec(c.groups * c.columns, 3)),
        dy(t, random_vec(c.rows * c.columns, 4)),
        ddx(t, random_vec(c.rows * c.columns, 5)),
        ddgamma(t, random_vec(c.groups * c.columns, 6)),
        ddbeta(t, random_vec(c.groups * c.columns, 7)),
        y(t, c.rows * c.columns),
        mean(statistics_dtype(t), c.rows),
        rstd(statistics_dtype(t), c.rows),
        dx(t, c.rows * c.columns),
        dgamma(t, c.groups * c.columns),
        dbeta(t, c.groups * c.columns),
        dx2(t, c.rows * c.columns),
        dgamma2(t, c.groups * c.columns),
        ddy(t, c.rows * c.columns) {}

  void run() {
    forward();
    backward();
    double_backward();
  }
  void forward() {
    layer_norm_forward(stream_under_test(),
                       {dtype, size.rows, size.columns, size.groups, 1e-5, x.data(),
                        size.gamma ? gamma.data() : nullptr, size.beta ? beta.data() : nullptr,
                        y.data(), mean.data(), rstd.data()});
  }
  void backward() {
    layer_norm_backward(
        stream_under_test(),
        {dtype, size.rows, size.columns, size.groups, x.data(), size.gamma ? gamma.data() : nullptr,
         mean.data(), rstd.data(), dy.data(), dx.data(), dgamma.data(), dbeta.data()});
  }
  void double_backward() {
    layer_norm_double_backward(
        stream_under_test(),
        {dtype, size.rows, size.columns, size.groups, x.data(), size.gamma ? gamma.data() : nullptr,
         mean.data(), rstd.data(), dy.data(), ddx.data(), ddgamma.data(), ddbeta.data(), dx2.data(),
         dgamma2.data(), ddy.data()});
  }
  std::vector<Buffer> outputs() const {
    return {y, mean, rstd, dx, dgamma, dbeta, dx2, dgamma2, ddy};
  }

  Case size;
  DType dtype;
  Buffer x, gamma, beta, dy, ddx, ddgamma, ddbeta;
  Buffer y, mean, rstd, dx, dgamma, dbeta, dx2, dgamma2, ddy;
};

void expect_oracle(const Case& c, DType dtype) {
  Problem fast(c, dtype);
  fast.run();
  const OnCpu cpu;
  const Selected naive({&layer_norm_forward, &layer_norm_backward, &layer_norm_double_backward},
                       "naive");
  Problem oracle(c, dtype);
  oracle.run();
  const std::string name = fmt::format("rows {} columns {} ", c.rows, c.columns);
  const double columns = static_cast<double>(c.columns);
  const std::int64_t group_rows = c.rows / c.groups;
  const double rows = static_cast<double>(group_rows);
  // A single column is all cancellation: xhat is zero up to rounding times 1 / sqrt(eps).
  const double row_error = 40 + 4 * std::sqrt(columns) + (c.columns == 1 ? 1000 : 0);
  const double column_error = row_error + 4 * rows;
  expect_close(name + "mean", fast.mean, oracle.mean, row_error);
  expect_close(name + "rstd", fast.rstd, oracle.rstd, row_error);
  expect_close(name + "y", fast.y, oracle.y, row_error);
  expect_close(name + "dx", fast.dx, oracle.dx, row_error);
  expect_close(name + "dgamma", fast.dgamma, oracle.dgamma, column_error);
  expect_close(name + "dbeta", fast.dbeta, oracle.dbeta, column_error);
  expect_close(name + "dx2", fast.dx2, oracle.dx2, row_error);
  expect_close(name + "dgamma2", fast.dgamma2, oracle.dgamma2, column_error);
  expect_close(name + "ddy", fast.ddy, oracle.ddy, row_error);
}

TEST(LayerNormKernel, MatchesTheOracle) {
  for (const Case& c : cases())
    for (const DType dtype : float_dtypes) expect_oracle(c, dtype);
}

// More rows than a device has room for at a time, so that what is kept over rows is used again.
TEST(LayerNormKernel, BlocksHaveManyRows) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    expect_oracle({40, 1032, 1, true, true}, dtype);
    expect_oracle({90, 264, 1, true, true}, dtype);
  }
  expect_oracle({40, 264, 1, true, true}, DType::f64);
}

// The maps whose derivatives are checked, with the statistics recomputed as functions of x.
Vec run_forward(const Case& c, const std::vector<Vec>& in) {
  Problem p(c, DType::f64);
  p.x = Buffer(DType::f64, in[0]);
  p.gamma = Buffer(DType::f64, in[1]);
  p.beta = Buffer(DType::f64, in[2]);
  p.forward();
  return p.y.values();
}

std::vector<Vec> run_backward(const Case& c, const std::vector<Vec>& in) {
  Problem p(c, DType::f64);
  p.x = Buffer(DType::f64, in[0]);
  p.gamma = Buffer(DType::f64, in[1]);
  p.dy = Buffer(DType::f64, in[2]);
  p.forward();
  p.backward();
  return {p.dx.values(), p.dgamma.values(), p.dbeta.values()};
}

TEST(LayerNormKernel, DerivativesMatchNumericOnes) {
  for (const std::string& variant : variants_under_test(layer_norm_forward)) {
    const Selected pinned({&layer_norm_forward, &layer_norm_backward, &layer_norm_double_backward},
                          variant.c_str());
    for (const Case& c :
         {Case{6, 5, 2, true, true}, Case{3, 17, 1, true, true}, Case{4, 40, 4, true, true}}) {
      Problem p(c, DType::f64);
      p.run();
      check_gradient(fmt::format("{} backward", variant),
                     [&](const auto& in) { return std::vector<Vec>{run_forward(c, in)}; },
                     {p.x.values(), p.gamma.values(), p.beta.values()}, {p.dy.values()},
                     {p.dx.values(), p.dgamma.values(), p.dbeta.values()});
      check_gradient(fmt::format("{} double backward", variant),
                     [&](const auto& in) { return run_backward(c, in); },
                     {p.x.values(), p.gamma.values(), p.dy.values()},
                     {p.ddx.values(), p.ddgamma.values(), p.ddbeta.values()},
                     {p.dx2.values(), p.dgamma2.values(), p.ddy.values()});
    }
  }
}

TEST(LayerNormKernel, SameBitsOnRepeatAndForAnyThreads) {
  for (const Case& c : cases())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      std::vector<std::vector<Buffer>> runs;
      for (const int count : repeats_under_test()) {
        const Threads pool(count);
        Problem p(c, dtype);
        p.run();
        runs.push_back(p.outputs());
      }
      for (const auto& run : runs) EXPECT_TRUE(run == runs[0]) << c.rows << " x " << c.columns;
    }
}

TEST(LayerNormKernel, NullOutputsAreSkippedAndNullCotangentsAreZeros) {
  const Case c{6, 19, 2, true, true};
  Problem full(c, DType::f32);
  full.run();
  const auto backward = [&](void* dx, void* dgamma, void* dbeta) {
    layer_norm_backward(stream_under_test(),
                        {DType::f32, 6, 19, 2, full.x.data(), full.gamma.data(), full.mean.data(),
                         full.rstd.data(), full.dy.data(), dx, dgamma, dbeta});
  };
  Problem part(c, DType::f32);
  backward(part.dx.data(), nullptr, nullptr);
  backward(nullptr, part.dgamma.data(), nullptr);
  backward(nullptr, nullptr, part.dbeta.data());
  EXPECT_TRUE(part.dx == full.dx && part.dgamma == full.dgamma && part.dbeta == full.dbeta);

  // Each cotangent alone, the others null, must equal the others as zeros.
  const Vec no_row(6 * 19), no_gain(2 * 19);
  for (int alone = 0; alone < 3; ++alone) {
    Problem zeros(c, DType::f32), nulls(c, DType::f32);
    zeros.forward();
    nulls.forward();
    if (alone != 0) zeros.ddx = Buffer(DType::f32, no_row);
    if (alone != 1) zeros.ddgamma = Buffer(DType::f32, no_gain);
    if (alone != 2) zeros.ddbeta = Buffer(DType::f32, no_gain);
    zeros.double_backward();
    layer_norm_double_backward(
        stream_under_test(),
        {DType::f32, 6, 19, 2, nulls.x.data(), nulls.gamma.data(), nulls.mean.data(),
         nulls.rstd.data(), nulls.dy.data(), alone == 0 ? nulls.ddx.data() : nullptr,
         alone == 1 ? nulls.ddgamma.data() : nullptr, alone == 2 ? nulls.ddbeta.data() : nullptr,
         nulls.dx2.data(), nulls.dgamma2.data(), nulls.ddy.data()});
    EXPECT_TRUE(nulls.dx2.values() == zeros.dx2.values()) << alone;
    EXPECT_TRUE(nulls.dgamma2.values() == zeros.dgamma2.values()) << alone;
    EXPECT_TRUE(nulls.ddy.values() == zeros.ddy.values()) << alone;
  }
}

// Rows that begin between the addresses at which a device moves 16 bytes at a time.
TEST(LayerNormKernel, OperandsNeedNoAlignment) {
  const Case c{10, 64, 2, true, true};
  for (const DType dtype : float_dtypes) {
    Problem aligned(c, dtype), shifted(c, dtype);
    aligned.run();
    const auto moved = [&](Buffer& b) {
      Vec values = b.values();
      values.insert(values.begin(), 7);
      b = Buffer(dtype, values);
      return static_cast<std::uint8_t*>(b.data()) + size_of(dtype);
    };
    const auto unmoved = [&](const Buffer& b) {
      Vec values = b.values();
      EXPECT_EQ(values[0], 7);
      return Buffer(dtype, Vec(values.begin() + 1, values.end()));
    };
    Problem& p = shifted;
    void *x = moved(p.x), *gamma = moved(p.gamma), *dy = moved(p.dy), *ddx = moved(p.ddx);
    void *y = moved(p.y), *dx = moved(p.dx), *dgamma = moved(p.dgamma), *dx2 = moved(p.dx2);
    layer_norm_forward(stream_under_test(), {dtype, c.rows, c.columns, c.groups, 1e-5, x, gamma,
                                             p.beta.data(), y, p.mean.data(), p.rstd.data()});
    layer_norm_backward(stream_under_test(),
                        {dtype, c.rows, c.columns, c.groups, x, gamma, p.mean.data(), p.rstd.data(),
                         dy, dx, dgamma, p.dbeta.data()});
    layer_norm_double_backward(
        stream_under_test(),
        {dtype, c.rows, c.columns, c.groups, x, gamma, p.mean.data(), p.rstd.data(), dy, ddx,
         p.ddgamma.data(), p.ddbeta.data(), dx2, p.dgamma2.data(), p.ddy.data()});
    expect_close("y", unmoved(p.y), aligned.y, 72);
    expect_close("dx", unmoved(p.dx), aligned.dx, 72);
    expect_close("dgamma", unmoved(p.dgamma), aligned.dgamma, 92);
    expect_close("dx2", unmoved(p.dx2), aligned.dx2, 72);
    expect_close("dgamma2", p.dgamma2, aligned.dgamma2, 92);
    expect_close("ddy", p.ddy, aligned.ddy, 72);
  }
}

TEST(LayerNormKernel, NoRowsGiveZeroGainGradients) {
  Problem p({0, 8, 2, true, true}, DType::f32);
  p.run();
  EXPECT_EQ(p.dgamma.values(), Vec(16));
  EXPECT_EQ(p.dbeta.values(), Vec(16));
  EXPECT_EQ(p.dgamma2.values(), Vec(16));
}

TEST(LayerNormKernel, RefusesSizesThatDoNotFit) {
  const LayerNormForwardArgs no_columns{DType::f32, 2,       0,       1,       1e-5,   nullptr,
                                        nullptr,    nullptr, nullptr, nullptr, nullptr};
  EXPECT_THROW(layer_norm_forward(stream_under_test(), no_columns), ShapeError);
  const LayerNormForwardArgs ragged{DType::f32, 7,       4,       2,       1e-5,   nullptr,
                                    nullptr,    nullptr, nullptr, nullptr, nullptr};
  EXPECT_THROW(layer_norm_forward(stream_under_test(), ragged), ShapeError);
  const LayerNormForwardArgs integers{DType::i32, 2,       4,       1,       1e-5,   nullptr,
                                      nullptr,    nullptr, nullptr, nullptr, nullptr};
  EXPECT_THROW(layer_norm_forward(stream_under_test(), integers), DTypeError);
}

}  // namespace
}  // namespace mettle::test
