// What holds for every row of the table of fused operations.
#include "tests/autograd/fused_table.h"

#include <gmock/gmock.h>

#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {
namespace {

std::vector<FusedRow> all_rows() {
  std::vector<FusedRow> all;
  for (const auto& family : {layer_norm_rows()})
    all.insert(all.end(), family.begin(), family.end());
  return all;
}

/// One call at every order: value, gradient, gradient of the gradient. Each order is computed from
/// the same inputs and cotangents, so that a result carries the error of one kernel only.
struct Orders {
  Variables y, first, second;
};

class Problem {
 public:
  Problem(const FusedRow& row, DType dtype) : row_(row) {
    for (const Variable& x : row.inputs) x_.push_back(in_dtype(x, dtype));
    std::uint64_t stream = 0;
    const NoGrad off;
    for (const Variable& y : row.fused(x_)) dy_.push_back(noise(y, stream++));
    for (std::size_t i = 0; i < x_.size(); ++i)
      ddx_.push_back(differentiable(i) ? noise(x_[i], stream++) : Variable());
  }

  /// The same numbers in f64.
  Problem exact() const {
    Problem p = *this;
    for (auto* list : {&p.x_, &p.dy_, &p.ddx_})
      for (Variable& v : *list) v = in_dtype(v, DType::f64);
    return p;
  }

  bool differentiable(std::size_t i) const {
    return x_[i] && is_floating(x_[i].dtype()) &&
           std::find(row_.constants.begin(), row_.constants.end(), i) == row_.constants.end();
  }

  /// f, with the constants kept out of the reach of gradients.
  Function with_constants(const Function& f) const {
    return [this, f](std::span<const Variable> x) {
      Variables in(x.begin(), x.end());
      for (const std::size_t i : row_.constants)
        if (in[i]) in[i] = in[i].detach();
      return f(in);
    };
  }
  Function gradient(const Function& f) const {
    return [this, f](std::span<const Variable> arguments) {
      return vector_jacobian_product(with_constants(f), arguments.first(x_.size()),
                                     arguments.subspan(x_.size()), wanted());
    };
  }

  Orders run(const Function& f, std::span<const std::uint8_t> needed = {}) const {
    const NoGrad off;
    return {f(x_),
            vector_jacobian_product(with_constants(f), x_, dy_, needed.empty() ? wanted() : needed),
            vector_jacobian_product(gradient(f), joined(), ddx_, needed)};
  }

  Variables joined() const {
    Variables all = x_;
    all.insert(all.end(), dy_.begin(), dy_.end());
    return all;
  }
  std::vector<std::uint8_t> wanted() const {
    std::vector<std::uint8_t> flags;
    for (std::size_t i = 0; i < x_.size(); ++i) flags.push_back(differentiable(i));
    return flags;
  }

  Variables& ddx() { return ddx_; }
  const Variables& x() const { return x_; }
  const Variables& dy() const { return dy_; }

 private:
  static Variable in_dtype(const Variable& v, DType dtype) {
    return v && is_floating(v.dtype()) ? cast(v, dtype) : v;
  }
  static Variable noise(const Variable& like, std::uint64_t stream) {
    return cast(normal(like.shape(), {99, stream}, 0, 1, DType::f64), like.dtype());
  }

  const FusedRow& row_;
  Variables x_, dy_, ddx_;
};

void expect_near(const std::string& what, const Variables& got, const Variables& want,
                 double roundings) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::string name = what + " " + std::to_string(i);
    if (!got[i] || !want[i]) {  // null means zero
      const Variable& given = got[i] ? got[i] : want[i];
      if (!given) continue;
      EXPECT_THAT(given.value().to_vector<double>(), testing::Each(0.0)) << name;
      continue;
    }
    ASSERT_EQ(got[i].shape(), want[i].shape()) << name;
    const DType dtype = got[i].dtype();
    expect_close(name, Buffer(dtype, got[i].value().to_vector<double>()),
                 Buffer(DType::f64, want[i].value().to_vector<double>()), roundings);
  }
}

bool same_bits(const Variables& a, const Variables& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined() != b[i].defined()) return false;
    if (!a[i]) continue;
    const auto left = a[i].value().to_vector<double>(), right = b[i].value().to_vector<double>();
    if (left.size() != right.size() ||
        (!left.empty() &&
         std::memcmp(left.data(), right.data(), left.size() * sizeof(double)) != 0))
      return false;
  }
  return true;
}
bool same_bits(const Orders& a, const Orders& b) {
  return same_bits(a.y, b.y) && same_bits(a.first, b.first) && same_bits(a.second, b.second);
}

class Fused : public testing::TestWithParam<FusedRow> {};

TEST_P(Fused, EqualsTheReferenceInEveryDType) {
  const FusedRow& row = GetParam();
  for (const DType dtype : float_dtypes) {
    const Problem problem(row, dtype), exact = problem.exact();
    const Orders got = problem.run(row.fused), want = exact.run(row.reference);
    expect_near("value", got.y, want.y, row.roundings);
    expect_near("gradient", got.first, want.first, row.roundings);
    expect_near("second derivative", got.second, want.second, row.roundings);
  }
}

TEST_P(Fused, FirstDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const auto report = gradcheck(problem.with_constants(GetParam().fused), problem.x());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, SecondDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const auto report = gradgradcheck(problem.with_constants(GetParam().fused), problem.x());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, ThirdDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const Function f = problem.with_constants(GetParam().fused);
  const auto report = gradgradcheck(gradient_of(f, problem.dy().size()), problem.joined());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, SameBitsAgainAndWithAnyNumberOfThreads) {
  const Problem problem(GetParam(), DType::f32);
  const Orders once = problem.run(GetParam().fused);
  EXPECT_TRUE(same_bits(once, problem.run(GetParam().fused)));
  for (const int count : {1, 2, 3}) {
    const Threads threads(count);
    EXPECT_TRUE(same_bits(once, problem.run(GetParam().fused))) << count << " threads";
  }
}

TEST_P(Fused, AGradientDoesNotDependOnWhichOthersAreWanted) {
  const Problem problem(GetParam(), DType::f64);
  const std::size_t count = problem.joined().size();
  const Orders all = problem.run(GetParam().fused);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::uint8_t> only(count, 0);
    only[i] = 1;
    const Orders one = problem.run(GetParam().fused, only);
    EXPECT_TRUE(same_bits({one.second[i]}, {all.second[i]})) << "second derivative " << i;
    for (std::size_t other = 0; other < count; ++other)
      EXPECT_TRUE(other == i || !one.second[other]) << other << " was not wanted";
    if (i >= problem.x().size()) continue;
    EXPECT_TRUE(same_bits({one.first[i]}, {all.first[i]})) << "gradient " << i;
  }
}

TEST_P(Fused, ANullCotangentCountsAsZero) {
  const FusedRow& row = GetParam();
  const Problem problem(row, DType::f64);
  for (std::size_t i = 0; i < problem.x().size(); ++i) {
    if (!problem.differentiable(i)) continue;
    Problem null = problem, zero = problem;
    for (std::size_t k = 0; k < problem.x().size(); ++k) {
      if (k == i || !problem.differentiable(k)) continue;
      null.ddx()[k] = Variable();
      zero.ddx()[k] = full_like(problem.x()[k], 0.0);
    }
    expect_near("second derivative", null.run(row.fused).second, zero.run(row.reference).second,
                row.roundings);
  }
}

std::string row_name(const testing::TestParamInfo<FusedRow>& row) { return row.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, Fused, testing::ValuesIn(all_rows()), row_name);

}  // namespace
}  // namespace mettle::test
