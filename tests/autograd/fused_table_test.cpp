// What holds for every row of the table of fused operations.
#include "tests/autograd/fused_table.h"

#include <gmock/gmock.h>

#include "tests/kernels/kernel_test_util.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

std::vector<FusedRow> all_rows() {
  std::vector<FusedRow> all;
  for (const auto& family :
       {attention_rows(), bce_with_logits_rows(), bias_gelu_rows(), cross_entropy_rows(),
        dropout_rows(), embedding_rows(), layer_norm_rows()})
    all.insert(all.end(), family.begin(), family.end());
  return all;
}

/// One call at every order: value, gradient, gradient of the gradient. Each order is computed from
/// the same inputs and cotangents, so that a result carries the error of one kernel only.
struct Orders {
  Variables y, first, second;
};

/// A row in one dtype, with cotangents. What is no constant of the operation is free: functions are
/// of the free inputs only.
class Problem {
 public:
  Problem(const FusedRow& row, DType dtype) : row_(row) {
    for (std::size_t i = 0; i < row.inputs.size(); ++i) {
      all_.push_back(in_dtype(row.inputs[i], dtype));
      const bool constant = std::ranges::find(row.constants, i) != row.constants.end();
      if (constant || !all_[i] || !is_floating(all_[i].dtype())) continue;
      place_.push_back(i);
      x_.push_back(all_[i]);
    }
    const NoGrad off;
    for (const Variable& y : row.fused(all_)) dy_.push_back(noise(y, dy_.size()));
    for (const Variable& x : x_) ddx_.push_back(noise(x, dy_.size() + ddx_.size()));
  }

  /// The same numbers in f64.
  Problem exact() const {
    Problem p = *this;
    for (auto* list : {&p.all_, &p.x_, &p.dy_, &p.ddx_})
      for (Variable& v : *list) v = in_dtype(v, DType::f64);
    return p;
  }

  /// f as a function of the free inputs.
  Function of_free(const Function& f) const {
    return [all = all_, place = place_, f](std::span<const Variable> x) {
      Variables in = all;
      for (std::size_t i = 0; i < place.size(); ++i) in[place[i]] = x[i];
      return f(in);
    };
  }
  Function fused() const { return of_free(row_.fused); }
  Function reference() const { return of_free(row_.reference); }

  /// f is of free inputs. needed: of (x, dy), empty for all.
  Orders run(const Function& f, std::span<const std::uint8_t> needed = {}) const {
    const NoGrad off;
    const Function gradient = [&](std::span<const Variable> arguments) {
      return vector_jacobian_product(f, arguments.first(x_.size()), arguments.subspan(x_.size()));
    };
    return {f(x_), vector_jacobian_product(f, x_, dy_, needed),
            vector_jacobian_product(gradient, x_and_dy(), ddx_, needed)};
  }

  Variables x_and_dy() const {
    Variables both = x_;
    both.insert(both.end(), dy_.begin(), dy_.end());
    return both;
  }
  const Variables& x() const { return x_; }
  const Variables& dy() const { return dy_; }
  Variables& ddx() { return ddx_; }

 private:
  static Variable in_dtype(const Variable& v, DType dtype) {
    return v && is_floating(v.dtype()) ? cast(v, dtype) : v;
  }
  static Variable noise(const Variable& like, std::uint64_t stream) {
    return cast(normal(like.shape(), {99, stream}, 0, 1, DType::f64), like.dtype());
  }

  const FusedRow& row_;
  Variables all_, x_, dy_, ddx_;
  std::vector<std::size_t> place_;  // of x_ in all_
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
  for (const DType dtype : float_dtypes) {
    // A sum of p parts rounds 2p - 1 times to the dtype; one rounding is granted anyway.
    const double coarse = rounding(dtype) / rounding(statistics_dtype(dtype));
    const double roundings = GetParam().roundings + 2 * (GetParam().parts - 1) * coarse;
    const Problem problem(GetParam(), dtype), exact = problem.exact();
    const Orders got = problem.run(problem.fused()), want = exact.run(exact.reference());
    expect_near("value", got.y, want.y, roundings);
    expect_near("gradient", got.first, want.first, roundings);
    expect_near("second derivative", got.second, want.second, roundings);
  }
}

TEST_P(Fused, FirstDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const auto report = gradcheck(problem.fused(), problem.x());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, SecondDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const auto report = gradgradcheck(problem.fused(), problem.x());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, ThirdDerivative) {
  const Problem problem(GetParam(), DType::f64);
  const auto report =
      gradgradcheck(gradient_of(problem.fused(), problem.dy().size()), problem.x_and_dy());
  EXPECT_TRUE(report) << report.where;
}

TEST_P(Fused, SameBitsAgainAndWithAnyNumberOfThreads) {
  const Problem problem(GetParam(), DType::f32);
  const Orders once = problem.run(problem.fused());
  EXPECT_TRUE(same_bits(once, problem.run(problem.fused())));
  for (const int count : kThreadCounts) {
    const Threads threads(count);
    EXPECT_TRUE(same_bits(once, problem.run(problem.fused()))) << count << " threads";
  }
}

TEST_P(Fused, AGradientDoesNotDependOnWhichOthersAreWanted) {
  const Problem problem(GetParam(), DType::f64);
  const std::size_t inputs = problem.x().size(), count = inputs + problem.dy().size();
  const Orders all = problem.run(problem.fused());
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::uint8_t> only(count, 0);
    only[i] = 1;
    const Orders one = problem.run(problem.fused(), only);
    EXPECT_TRUE(same_bits({one.second[i]}, {all.second[i]})) << "second derivative " << i;
    for (std::size_t other = 0; other < count; ++other)
      EXPECT_TRUE(other == i || !one.second[other]) << other << " was not wanted";
    EXPECT_TRUE(i >= inputs || same_bits({one.first[i]}, {all.first[i]})) << "gradient " << i;
  }
}

TEST_P(Fused, ANullCotangentCountsAsZero) {
  const Problem problem(GetParam(), DType::f64);
  for (std::size_t i = 0; i < problem.x().size(); ++i) {
    Problem null = problem, zero = problem;
    for (std::size_t k = 0; k < problem.x().size(); ++k) {
      if (k == i) continue;
      null.ddx()[k] = Variable();
      zero.ddx()[k] = full_like(problem.x()[k], 0.0);
    }
    expect_near("second derivative", null.run(null.fused()).second,
                zero.run(zero.reference()).second, GetParam().roundings);
  }
}

std::string row_name(const testing::TestParamInfo<FusedRow>& row) { return row.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, Fused, testing::ValuesIn(all_rows()), row_name);

}  // namespace
}  // namespace mettle::test
