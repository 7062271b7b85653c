// Optimizer steps and the global norm: against the f64 oracle, bit-stable, with ragged and empty
// lists, and what they do with gradients that are not finite.
#include "kernels/optimizer.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using namespace kernels;
using testing::AllOf;
using testing::HasSubstr;
using Sizes = std::vector<std::int64_t>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

const Sizes lists[] = {{}, {0}, {1}, {17, 0, 1, 33}, {5, 32768}, {32769, 3, 7}, {70001, 1, 0}};
// More tensors than one kernel parameter of a GPU lists.
const Sizes many(500, 3);

/// The lists that a test runs over: emulated devices take seconds for the long ones.
std::vector<Sizes> lists_of_device() {
  if (device_under_test() == Device::cpu()) return {std::begin(lists), std::end(lists)};
  return {{}, {0}, {1}, {17, 0, 1, 33}, {5, 4096}, {8193, 3, 0, 7}, Sizes(40, 5)};
}

double norm_of(DType dtype, const std::vector<NormTensor>& tensors) {
  const Array<double> norm({-1});
  global_norm(stream_under_test(),
              {dtype, tensors.data(), static_cast<std::int64_t>(tensors.size()), norm.data()});
  return norm.values()[0];
}

/// The numbers of a step that stand in the device's memory.
struct InMemory {
  const double* rate = nullptr;
  const double* scale = nullptr;
  std::int64_t* steps_made = nullptr;  // one for each tensor
};

/// Parameters, gradients and moments of a list of tensors, with per-tensor rates and decays.
struct State {
  State(const Sizes& sizes, DType t) : dtype(t) {
    for (const std::int64_t n : sizes) {
      const auto seed = static_cast<unsigned>(4 * param.size());
      param.emplace_back(t, random_vec(n, seed + 1));
      grad.emplace_back(t, random_vec(n, seed + 2, -3, 3));
      first.emplace_back(t, random_vec(n, seed + 3));
      second.emplace_back(t, random_vec(n, seed + 4, 0, 2));
    }
  }

  void adam(std::int64_t step, double scale = 1) { adam(step, scale, 1e-8, 0.02, 0.1); }
  void adam(std::int64_t step, double scale, double eps, double l2, double decay,
            const InMemory& memory = {}) {
    std::vector<AdamTensor> tensors;
    for (std::size_t k = 0; k < param.size(); ++k)
      tensors.push_back({param[k].data(), grad[k].data(), first[k].data(), second[k].data(),
                         size(k), step + static_cast<std::int64_t>(k), lr(k), l2,
                         decay * static_cast<double>(k),
                         memory.steps_made ? memory.steps_made + k : nullptr});
    adam_step(stream_under_test(), {dtype, tensors.data(), std::ssize(tensors), 0.9, 0.999, eps,
                                    scale, memory.rate, memory.scale});
  }
  void sgd(bool with_velocity, bool nesterov, double scale = 1, const InMemory& memory = {}) {
    std::vector<SgdTensor> tensors;
    for (std::size_t k = 0; k < param.size(); ++k)
      tensors.push_back({param[k].data(), grad[k].data(), with_velocity ? first[k].data() : nullptr,
                         size(k), lr(k), 0.3, memory.steps_made ? memory.steps_made + k : nullptr});
    sgd_step(stream_under_test(), {dtype, tensors.data(), std::ssize(tensors), 0.9, nesterov, scale,
                                   memory.rate, memory.scale});
  }
  double norm() {
    std::vector<NormTensor> tensors;
    for (std::size_t k = 0; k < grad.size(); ++k) tensors.push_back({grad[k].data(), size(k)});
    return norm_of(dtype, tensors);
  }

  double lr(std::size_t k) const { return base_rate * static_cast<double>(k + 1); }
  std::int64_t size(std::size_t k) const {
    return static_cast<std::int64_t>(param[k].values().size());
  }
  bool operator==(const State& other) const {
    return param == other.param && first == other.first && second == other.second;
  }

  double base_rate = 0.01;
  DType dtype;
  std::vector<Buffer> param, grad, first, second;
};

void expect_close(const std::string& what, const State& got, const State& want) {
  for (std::size_t k = 0; k < got.param.size(); ++k) {
    expect_close(what + " param", got.param[k], want.param[k], 8);
    expect_close(what + " first", got.first[k], want.first[k], 8);
    expect_close(what + " second", got.second[k], want.second[k], 8);
  }
}

template <class Step> State oracle(const Sizes& sizes, DType dtype, Step step) {
  const OnCpu cpu;
  const Selected naive({&adam_step, &sgd_step, &global_norm}, "naive");
  State state(sizes, dtype);
  step(state);
  return state;
}

template <class Step> void expect_the_oracle(const std::string& what, Step step) {
  for (const Sizes& sizes : lists_of_device())
    for (const DType dtype : {DType::f32, DType::f64}) {
      const State want = oracle(sizes, dtype, step);
      State state(sizes, dtype);
      step(state);
      expect_close(what, state, want);
    }
}

TEST(AdamStep, MatchesTheOracle) {
  for (const std::int64_t step : {1, 2, 1000})
    for (const double scale : {1.0, 0.25})
      expect_the_oracle(fmt::format("step {} scale {}", step, scale),
                        [&](State& s) { s.adam(step, scale); });
}

TEST(SgdStep, MatchesTheOracle) {
  for (const bool velocity : {false, true})
    for (const bool nesterov : {false, true})
      expect_the_oracle(fmt::format("velocity {} nesterov {}", velocity, nesterov),
                        [&](State& s) { s.sgd(velocity, nesterov, 0.5); });
}

TEST(GlobalNorm, MatchesTheOracle) {
  for (const Sizes& sizes : lists_of_device())
    for (const DType dtype : float_dtypes) {
      double want = 0;
      oracle(sizes, dtype, [&](State& s) { want = s.norm(); });
      State state(sizes, dtype);
      // Pieces of 32768 squares in f64: each lane adds at most 32768 / 8 of them.
      EXPECT_NEAR(state.norm(), want, 4096 * rounding(DType::f64) * want) << to_string(dtype);
    }
}

// By tests of bits, not of closeness: a captured step is the step by itself.
TEST(OptimizerKernels, NumbersInMemoryAreThoseOfTheArguments) {
  for (const Sizes& sizes : lists_of_device())
    for (const DType dtype : {DType::f32, DType::f64}) {
      State want(sizes, dtype), got(sizes, dtype);
      const Array<double> rate({0.5}), scale({0.25});
      std::vector<std::int64_t> made;
      for (std::size_t k = 0; k < sizes.size(); ++k) made.push_back(static_cast<std::int64_t>(k));
      const Array<std::int64_t> steps(made);
      const InMemory memory{rate.data(), scale.data(), steps.data()};
      want.base_rate *= 0.5;
      for (int i = 0; i < 3; ++i) {
        want.adam(1 + 2 * i, 0.5 * 0.25, 1e-8, 0.02, 0.1);
        want.sgd(true, true, 0.5 * 0.25);
        got.adam(-7, 0.5, 1e-8, 0.02, 0.1, memory);
        got.sgd(true, true, 0.5, memory);
      }
      EXPECT_TRUE(got == want) << to_string(dtype);
      for (std::int64_t& count : made) count += 6;
      EXPECT_EQ(steps.values(), made);
    }
}

TEST(OptimizerKernels, ANumberInMemoryThatForbidsTheStepLeavesEverything) {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const auto& [rate_value, scale_value] :
         {std::pair(nan, 1.0), {inf, 1.0}, {-0.1, 1.0}, {1.0, nan}, {1.0, inf}, {1.0, -inf}}) {
      const State before({17, 0, 300}, dtype);
      State state = before;
      const Array<double> rate({rate_value}), scale({scale_value});
      const Array<std::int64_t> steps({4, 5, 6});
      const InMemory memory{rate.data(), scale.data(), steps.data()};
      state.adam(1, 1, 1e-8, 0.02, 0.1, memory);
      state.sgd(true, false, 1, memory);
      state.sgd(false, false, 1, memory);
      EXPECT_TRUE(state == before) << rate_value << " " << scale_value;
      EXPECT_EQ(steps.values(), (std::vector<std::int64_t>{4, 5, 6}));
    }
}

TEST(AdamStep, TheFirstStepMovesByTheRateAgainstTheSign) {
  State s({2}, DType::f64);
  s.param[0] = Buffer(DType::f64, Vec{1, 1});
  s.grad[0] = Buffer(DType::f64, Vec{5, -1e-3});
  s.first[0] = s.second[0] = Buffer(DType::f64, Vec{0, 0});
  s.adam(1, 1, 1e-30, 0, 0);
  EXPECT_NEAR(s.param[0].values()[0], 0.99, 1e-14);
  EXPECT_NEAR(s.param[0].values()[1], 1.01, 1e-14);
}

TEST(OptimizerKernels, SameBitsOnRepeatAndForAnyThreads) {
  for (const Sizes& sizes : lists_of_device()) {
    std::vector<State> runs;
    std::vector<double> norms;
    for (const int count : kThreadCounts) {
      const Threads pool(count);
      State s(sizes, DType::f32);
      norms.push_back(s.norm());
      s.adam(3);
      s.sgd(true, true);
      runs.push_back(s);
    }
    for (const State& run : runs) EXPECT_TRUE(run == runs[0]);
    for (const double value : norms) EXPECT_EQ(value, norms[0]);
  }
}

// A tensor's result does not depend on which others are in the list.
TEST(OptimizerKernels, OneByOneEqualsTogether) {
  State together({40000, 5, 19}, DType::f32);
  State alone = together;
  together.adam(3);
  for (std::size_t k = 0; k < alone.param.size(); ++k) {
    const AdamTensor tensor{alone.param[k].data(),
                            alone.grad[k].data(),
                            alone.first[k].data(),
                            alone.second[k].data(),
                            alone.size(k),
                            3 + static_cast<std::int64_t>(k),
                            0.01 * static_cast<double>(k + 1),
                            0.02,
                            0.1 * static_cast<double>(k)};
    adam_step(stream_under_test(), {DType::f32, &tensor, 1});
  }
  EXPECT_TRUE(together == alone);
}

TEST(OptimizerKernels, AGradientThatIsNotFiniteSpoilsItsOwnElementOnly) {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const double bad : {nan, inf, -inf}) {
      State s({40}, dtype);
      const State clean = s;
      Vec grad = s.grad[0].values();
      grad[7] = bad;
      s.grad[0] = Buffer(dtype, grad);
      EXPECT_FALSE(std::isfinite(s.norm()));
      State adam = s, sgd = s, adam_clean = clean, sgd_clean = clean;
      adam.adam(2);
      adam_clean.adam(2);
      sgd.sgd(true, false);
      sgd_clean.sgd(true, false);
      for (const auto& [spoilt, whole] : {std::pair(&adam, &adam_clean), {&sgd, &sgd_clean}})
        for (std::size_t i = 0; i < 40; ++i) {
          const double value = spoilt->param[0].values()[i];
          if (i == 7) {
            EXPECT_FALSE(std::isfinite(value));
          } else {
            EXPECT_EQ(value, whole->param[0].values()[i]) << i;
          }
        }
    }
}

TEST(GlobalNorm, IsFiniteWhereF32SquaresWouldNotBe) {
  const Buffer huge(DType::f32, Vec{3e30, 4e30});
  EXPECT_NEAR(norm_of(DType::f32, {{huge.data(), 2}}), 5e30, 1e24);
}

TEST(OptimizerKernels, ManyTensors) {
  const auto step = [](State& s) { s.adam(2, 1, 1e-8, 0, 0); };
  State state(many, DType::f32);
  step(state);
  expect_close("many", state, oracle(many, DType::f32, step));
  double want = 0;
  oracle(many, DType::bf16, [&](State& s) { want = s.norm(); });
  EXPECT_NEAR(State(many, DType::bf16).norm(), want, 1e-12 * want);
}

// From an address that packs of 16 bytes do not fit.
TEST(OptimizerKernels, UnalignedTensors) {
  const Vec param = random_vec(301, 1), grad = random_vec(301, 2), zeros(301, 0.0);
  const auto run = [&](std::size_t skip) {
    const auto shifted = [&](const Vec& values) {
      Vec out(skip, 0.0);
      out.insert(out.end(), values.begin(), values.end());
      return Buffer(DType::f32, out);
    };
    Buffer p = shifted(param), g = shifted(grad), m = shifted(zeros), v = shifted(zeros);
    const auto at = [&](Buffer& b) { return static_cast<float*>(b.data()) + skip; };
    const AdamTensor tensor{at(p), at(g), at(m), at(v), 301, 1, 0.1};
    adam_step(stream_under_test(), {DType::f32, &tensor, 1});
    Vec moved = p.values();
    moved.erase(moved.begin(), moved.begin() + static_cast<std::ptrdiff_t>(skip));
    moved.push_back(norm_of(DType::f32, {{at(g), 301}}));
    return moved;
  };
  const Vec aligned = run(0), unaligned = run(1);
  for (std::size_t i = 0; i < aligned.size(); ++i) EXPECT_NEAR(aligned[i], unaligned[i], 1e-6);
}

TEST(OptimizerKernels, RefuseWithTheRemedy) {
  const auto adam = [](DType dtype, std::int64_t step, double beta2 = 0.9, double eps = 1e-8) {
    return [=] {
      const AdamTensor nothing{nullptr, nullptr, nullptr, nullptr, 0, step, 0.1};
      adam_step(stream_under_test(), {dtype, &nothing, 1, 0.9, beta2, eps});
    };
  };
  const DeviceType device = device_under_test().type;
  for (const VariantInfo& variant : adam_step.variants()) {
    if (variant.device != device) continue;
    const Selected pinned({&adam_step, &sgd_step, &global_norm}, variant.name.c_str());
    EXPECT_THAT(message_of<DTypeError>(adam(DType::bf16, 1)),
                AllOf(HasSubstr("adam_step"), HasSubstr("bf16"), HasSubstr("master weights")));
    EXPECT_THAT(message_of<DTypeError>([] {
                  sgd_step(stream_under_test(), {DType::i64, nullptr, 0});
                }),
                AllOf(HasSubstr("sgd_step"), HasSubstr("i64")));
    EXPECT_THAT(message_of<ValueError>(adam(DType::f32, 0)), HasSubstr("step of tensor 0 is 0"));
    EXPECT_THAT(message_of<ValueError>(adam(DType::f32, 1, 1.0)), HasSubstr("[0, 1)"));
    EXPECT_THAT(message_of<ValueError>(adam(DType::f32, 1, 0.9, 1e-60)), HasSubstr("eps"));
    EXPECT_THAT(message_of<DTypeError>([&] { norm_of(DType::i32, {}); }),
                AllOf(HasSubstr("global_norm"), HasSubstr("i32")));
  }
}

}  // namespace
}  // namespace mettle::test
