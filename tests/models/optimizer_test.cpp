// Optimizers against sequences computed step by step in f64, their groups, their state, clipping,
// and what they refuse.
#include "models/optimizer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "models/clip.h"
#include "tests/autograd/message_of.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using testing::AllOf;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointwise;

Variable leaf(const Vec& values, const Shape& shape, DType dtype = DType::f64) {
  return cast(Variable(Tensor::from(values, shape)), dtype).detach_requires_grad();
}
Variable leaf(const Vec& values) {
  return leaf(values, {static_cast<std::int64_t>(values.size())});
}

Params one(const Variable& value) {
  Params params;
  params.add("w", value);
  return params;
}

Vec values_of(const Variable& v) { return v.value().to_vector<double>(); }

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.numel() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}

// ---------------------------------------------------------------------------- against closed forms

/// The gradient of the t-th step, t = 1, 2, ...: fixed numbers, so that sequences can be written
/// down without the weights.
double slope(int t) { return 0.5 - 0.3 * t; }

/// w after each of five steps with gradients slope(t), from w = 2.
Vec trajectory(Optimizer& optimizer, const Params& params, double rate) {
  Vec w;
  for (int t = 1; t <= 5; ++t) {
    optimizer.step(params.values(), Variables{leaf({slope(t)})}, rate);
    w.push_back(values_of(params["w"])[0]);
  }
  return w;
}

TEST(Sgd, FollowsItsFormula) {
  for (const double momentum : {0.0, 0.9})
    for (const bool nesterov : {false, true}) {
      if (nesterov && momentum == 0) continue;
      const double decay = 0.25;
      Vec want;
      double w = 2, velocity = 0;
      for (int t = 1; t <= 5; ++t) {
        const double u = slope(t) + decay * w;
        velocity = momentum * velocity + u;
        w -= 0.1 * (nesterov ? u + momentum * velocity : velocity);
        want.push_back(w);
      }
      const Params params = one(leaf({2}));
      Sgd sgd(params, {momentum, nesterov, decay});
      EXPECT_THAT(trajectory(sgd, params, 0.1), Pointwise(DoubleNear(1e-14), want)) << momentum;
    }
}

// The velocity of a constant gradient is a geometric sum.
TEST(Sgd, ConstantGradientsAddUpGeometrically) {
  const Params params = one(leaf({0}));
  Sgd sgd(params, {.momentum = 0.5});
  double travelled = 0;
  for (int t = 1; t <= 6; ++t) {
    sgd.step(params.values(), Variables{leaf({1})}, 1.0);
    travelled += 2 * (1 - std::pow(0.5, t));
    EXPECT_NEAR(values_of(params["w"])[0], -travelled, 1e-14);
  }
}

/// By the sums that define the moments, not by their recurrence.
Vec adam_by_definition(double rate, double decoupled) {
  Vec out;
  double w = 2;
  for (int t = 1; t <= 5; ++t) {
    double m = 0, v = 0;
    for (int s = 1; s <= t; ++s) {
      m += 0.2 * std::pow(0.8, t - s) * slope(s);
      v += 0.1 * std::pow(0.9, t - s) * slope(s) * slope(s);
    }
    m /= 1 - std::pow(0.8, t);
    v /= 1 - std::pow(0.9, t);
    w = w * (1 - rate * decoupled) - rate * m / (std::sqrt(v) + 1e-3);
    out.push_back(w);
  }
  return out;
}

TEST(Adam, FollowsItsDefinition) {
  const Params params = one(leaf({2}));
  Adam adam(params, {.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3});
  EXPECT_THAT(trajectory(adam, params, 0.1),
              Pointwise(DoubleNear(1e-13), adam_by_definition(0.1, 0)));
}

TEST(AdamW, ShrinksBesideTheStep) {
  const Params params = one(leaf({2}));
  AdamW adamw(params, {.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.3});
  EXPECT_THAT(trajectory(adamw, params, 0.1),
              Pointwise(DoubleNear(1e-13), adam_by_definition(0.1, 0.3)));
}

// Where the gradient is zero, AdamW's weight decays by its factor, while Adam takes the decay for a
// gradient, whose size it normalises away.
TEST(AdamW, DecouplesTheDecayThatAdamNormalises) {
  const Params plain = one(leaf({2, 20})), decoupled = one(leaf({2, 20}));
  Adam adam(plain, {.weight_decay = 0.1});
  AdamW adamw(decoupled, {.weight_decay = 0.1});
  adam.step(plain.values(), Variables{leaf({0, 0})}, 0.01);
  adamw.step(decoupled.values(), Variables{leaf({0, 0})}, 0.01);
  EXPECT_THAT(values_of(plain["w"]), Pointwise(DoubleNear(1e-8), Vec{1.99, 19.99}));
  EXPECT_THAT(values_of(decoupled["w"]), Pointwise(DoubleNear(1e-14), Vec{1.998, 19.98}));
}

TEST(Adam, FindsTheMinimumOfAQuadratic) {
  const Params params = one(leaf({5, -3}));
  const Variable target(Tensor::from(Vec{1, 2}, {2}));
  Adam adam(params);
  for (int t = 0; t < 5000; ++t) {
    const Variable loss = sum(square(params["w"] - target));
    adam.step(params.values(), grad(loss, params.values()), 0.1 * std::pow(0.997, t));
  }
  EXPECT_THAT(values_of(params["w"]), Pointwise(DoubleNear(1e-6), Vec{1, 2}));
}

// ------------------------------------------------------------------------------ groups and nulls

Params small_model(DType dtype = DType::f32) {
  Params params;
  params.add("layer.weight", leaf(random_vec(6, 1), {2, 3}, dtype));
  params.add("layer.bias", leaf(random_vec(3, 2), {3}, dtype));
  params.add("head.weight", leaf(random_vec(3, 3), {3, 1}, DType::f64));
  params.add("nothing", leaf({}, {0, 4}, dtype));
  return params;
}
Variables gradients_of(const Params& params, unsigned seed) {
  Variables all;
  for (const Variable& p : params.values())
    all.push_back(leaf(random_vec(p.numel(), seed++), p.shape(), p.dtype()));
  return all;
}

TEST(Optimizer, RulesScaleRatesAndDecays) {
  const Params params = small_model(DType::f64);
  const Variable &weight = params["layer.weight"], &bias = params["layer.bias"],
                 &head = params["head.weight"];
  const Vec w = values_of(weight), b = values_of(bias), h = values_of(head);
  AdamW adamw(params, {.weight_decay = 0.5}, [](std::string_view name, const Shape& shape) {
    ParameterRule rule = decay_matrices_only(name, shape);
    if (name.starts_with("head")) rule.rate_factor = 0.0;
    return rule;
  });
  Variables zeros;
  for (const Variable& p : params.values()) zeros.push_back(full_like(p, 0.0));
  adamw.step(params.values(), zeros, 0.1);
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(values_of(weight)[i], 0.95 * w[i], 1e-15);
  EXPECT_EQ(values_of(bias), b);
  EXPECT_EQ(values_of(head), h);
}

// A parameter counts its own steps: one that gets its first gradient late starts as all did.
TEST(Optimizer, ANullGradientLeavesEverythingUntouched) {
  const Params params = small_model(), fresh = small_model();
  AdamW adamw(params, {.weight_decay = 0.1}), other(fresh, {.weight_decay = 0.1});
  Variables gradients = gradients_of(params, 10);
  const Variable late = gradients[0];
  gradients[0] = Variable();
  const Vec before = values_of(params.values()[0]);
  const std::uint32_t version = params.values()[0].value().version();
  for (int t = 0; t < 3; ++t) adamw.step(params.values(), gradients, 0.1);
  EXPECT_EQ(values_of(params.values()[0]), before);
  EXPECT_EQ(params.values()[0].value().version(), version);
  EXPECT_GT(params.values()[1].value().version(), 0u);
  EXPECT_THAT(adamw.state().at("steps").to_vector<std::int64_t>(), ElementsAre(0, 3, 3, 3));

  gradients[0] = late;
  adamw.step(params.values(), gradients, 0.1);
  other.step(fresh.values(), gradients, 0.1);
  EXPECT_TRUE(same_bits(params.values()[0].value(), fresh.values()[0].value()));
}

TEST(Optimizer, AGraphThatSavedTheOldWeightsIsStale) {
  const Params params = one(leaf({1, 2}));
  Sgd sgd(params);
  const Variable loss = sum(square(params["w"]));
  sgd.step(params.values(), Variables{leaf({1, 1})}, 0.1);
  EXPECT_THAT(message_of<AutogradError>([&] { grad(loss, {params["w"]}); }), HasSubstr("sgd"));
}

TEST(Optimizer, StridedGradientsAreReadInTheirOrder) {
  const Params params = one(leaf({0, 0, 0, 0, 0, 0}, {2, 3}));
  Sgd sgd(params);
  sgd.step(params.values(), Variables{transpose(leaf({1, 2, 3, 4, 5, 6}, {3, 2}), 0, 1)}, 1.0);
  EXPECT_THAT(values_of(params["w"]), ElementsAre(-1, -3, -5, -2, -4, -6));
}

// ------------------------------------------------------------------------------------------ state

using Make = std::function<std::unique_ptr<Optimizer>(const Params&)>;
const std::pair<const char*, Make> kinds[] = {
    {"sgd",
     [](const Params& p) {
       return std::make_unique<Sgd>(p, SgdOptions{0.9, true, 0.1});
     }},
    {"adam", [](const Params& p) { return std::make_unique<Adam>(p, AdamOptions{}); }},
    {"adamw", [](const Params& p) {
       return std::make_unique<AdamW>(p, AdamOptions{.weight_decay = 0.1}, decay_matrices_only);
     }}};

void train(Optimizer& optimizer, const Params& params, unsigned from, unsigned to) {
  for (unsigned t = from; t < to; ++t)
    optimizer.step(params.values(), gradients_of(params, 100 * t), 0.01, 0.7);
}

TEST(Optimizer, ResumesBitForBit) {
  for (const auto& [name, make] : kinds) {
    const Params whole = small_model(), half = small_model();
    const auto straight = make(whole), first = make(half);
    train(*straight, whole, 0, 6);
    train(*first, half, 0, 3);
    const Params resumed = half.trainable_copy();
    const auto second = make(resumed);
    second->restore(first->state());
    train(*first, half, 50, 51);  // what was restored is a copy
    train(*second, resumed, 3, 6);
    for (std::size_t i = 0; i < whole.size(); ++i)
      EXPECT_TRUE(same_bits(whole.values()[i].value(), resumed.values()[i].value())) << name;
    const auto a = straight->state(), b = second->state();
    for (const auto& [key, tensor] : a) EXPECT_TRUE(same_bits(tensor, b.at(key))) << key;
  }
}

TEST(Optimizer, StateIsNamedByParameterAndRefusedWhenItDoesNotFit) {
  const Params params = small_model();
  Adam adam(params);
  auto state = adam.state();
  EXPECT_EQ(state.size(), 9u);
  EXPECT_EQ(state.at("m.layer.weight").shape(), Shape({2, 3}));
  EXPECT_EQ(state.at("v.head.weight").dtype(), DType::f64);

  auto lacking = state;
  lacking.erase("v.layer.bias");
  EXPECT_THAT(message_of<ValueError>([&] { adam.restore(lacking); }),
              AllOf(HasSubstr("lacks"), HasSubstr("v.layer.bias")));
  auto strange = state;
  strange.emplace("velocity.layer.bias", Tensor::zeros({3}));
  EXPECT_THAT(message_of<ValueError>([&] { adam.restore(strange); }),
              HasSubstr("velocity.layer.bias"));
  auto reshaped = state;
  reshaped["m.layer.bias"] = Tensor::zeros({4});
  EXPECT_THAT(message_of<ShapeError>([&] { adam.restore(reshaped); }),
              AllOf(HasSubstr("m.layer.bias"), HasSubstr("(4,)"), HasSubstr("(3,)")));
  auto converted = state;
  converted["m.layer.bias"] = Tensor::zeros({3}, DType::f64);
  EXPECT_THAT(message_of<DTypeError>([&] { adam.restore(converted); }), HasSubstr("m.layer.bias"));
}

TEST(Optimizer, SameBitsForAnyNumberOfThreads) {
  for (const auto& [name, make] : kinds) {
    std::vector<Params> results;
    for (const int count : kThreadCounts) {
      const Threads pool(count);
      Params params;
      params.add("large", leaf(random_vec(70000, 1), {70000}, DType::f32));
      params.add("small", leaf(random_vec(5, 2), {5}, DType::f32));
      const auto optimizer = make(params);
      train(*optimizer, params, 0, 2);
      results.push_back(params);
    }
    for (const Params& result : results)
      for (std::size_t i = 0; i < result.size(); ++i)
        EXPECT_TRUE(same_bits(result.values()[i].value(), results[0].values()[i].value())) << name;
  }
}

// --------------------------------------------------------------------------------------- clipping

TEST(Clip, NormOverAllDTypesAndLayouts) {
  const Variables gradients{leaf({3, 0}, {2}, DType::f32),
                            Variable(),
                            leaf({0, 4}, {2}),
                            transpose(leaf({12, 0, 0, 0, 0, 0}, {2, 3}, DType::bf16), 0, 1),
                            leaf({84}, {1}, DType::f16),
                            leaf({}, {0})};
  EXPECT_NEAR(gradient_norm(gradients), 85, 1e-12);
  EXPECT_EQ(gradient_norm(Variables{Variable()}), 0);
  EXPECT_THAT(message_of<DTypeError>([] { gradient_norm(Variables{arange(3)}); }),
              AllOf(HasSubstr("gradient_norm"), HasSubstr("i64")));
}

TEST(Clip, TheFactorLimitsTheStep) {
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(0, 1), 1);
  EXPECT_EQ(clip_factor(4, 1), 0.25);
  EXPECT_THAT(message_of<ValueError>([] { clip_factor(1, 0); }), HasSubstr("0"));

  const Params clipped = one(leaf({0, 0})), scaled = one(leaf({0, 0}));
  const Variables g{leaf({6, 8})};
  Sgd(clipped).step(clipped.values(), g, 1.0, clip_factor(gradient_norm(g), 5));
  EXPECT_THAT(values_of(clipped["w"]), ElementsAre(-3, -4));
  // Momentum sees the clipped gradient.
  Sgd sgd(scaled, {.momentum = 0.5});
  sgd.step(scaled.values(), g, 1.0, 0.5);
  EXPECT_THAT(sgd.state().at("velocity.w").to_vector<double>(), ElementsAre(3, 4));
}

TEST(Clip, TheTensorFormHasTheSameBits) {
  const auto bits = [](const Variables& g, double max_norm) {
    const Tensor factor = clip_factor(gradient_norm_tensor(g), max_norm);
    EXPECT_EQ(factor.shape(), Shape({}));
    EXPECT_EQ(factor.item(), clip_factor(gradient_norm(g), max_norm)) << max_norm;
  };
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double max_norm : {1e-3, 1.0, 4.0, 5.0, 7.0, infinity}) {
    bits({leaf({3, 4}), Variable()}, max_norm);
    bits({leaf({0.1, 0.7, -0.3}, {3}, DType::f32), leaf({}, {0}, DType::f32)}, max_norm);
    bits({leaf({0, 0})}, max_norm);
  }
  for (const double bad : {std::nan(""), infinity, -infinity})
    EXPECT_TRUE(std::isnan(clip_factor(gradient_norm_tensor(Variables{leaf({1, bad})}), 1).item()));
  const Variables both{leaf({3, 0}, {2}, DType::f32), leaf({0, 4}), leaf({12}, {1}, DType::bf16)};
  EXPECT_NEAR(gradient_norm_tensor(both).item(), 13, 1e-14);
  EXPECT_THAT(message_of<ValueError>([] { gradient_norm_tensor(Variables{Variable()}); }),
              HasSubstr("every gradient is null"));
  EXPECT_THAT(message_of<ValueError>([] { clip_factor(Tensor::zeros({}, DType::f64), 0); }),
              HasSubstr("the largest norm is 0"));
}

TEST(Optimizer, NumbersMayBeTensors) {
  const Tensor rate = Tensor::zeros({}, DType::f64), scale = Tensor::zeros({1}, DType::f64);
  for (const auto& [name, make] : kinds) {
    const Params numbers = small_model(), tensors = small_model();
    const auto by_numbers = make(numbers), by_tensors = make(tensors);
    for (unsigned t = 0; t < 4; ++t) {
      const Variables gradients = gradients_of(numbers, 100 * t);
      *rate.data<double>() = 0.03 / (t + 1);
      *scale.data<double>() = 0.3 * (t + 1);
      by_numbers->step(numbers.values(), gradients, 0.03 / (t + 1), 0.3 * (t + 1));
      by_tensors->step(tensors.values(), gradients, rate, scale);
    }
    *scale.data<double>() = std::nan("");
    by_tensors->step(tensors.values(), gradients_of(tensors, 1), rate, scale);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      EXPECT_TRUE(same_bits(numbers.values()[i].value(), tensors.values()[i].value())) << name;
    const auto a = by_numbers->state(), b = by_tensors->state();
    for (const auto& [key, tensor] : a) EXPECT_TRUE(same_bits(tensor, b.at(key))) << key;
  }
  const Params params = small_model();
  AdamW adamw(params);
  const auto step = [&](const Tensor& number) {
    return [&, number] { adamw.step(params.values(), gradients_of(params, 1), number, 1.0); };
  };
  EXPECT_THAT(message_of<ShapeError>(step(Tensor::zeros({2}, DType::f64))),
              AllOf(HasSubstr("learning rate"), HasSubstr("one element")));
  EXPECT_THAT(message_of<DTypeError>(step(Tensor::zeros({}))), HasSubstr("cast()"));
}

TEST(Clip, GradientsThatAreNotFiniteNeverReachTheWeights) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const Params params = one(leaf({1, 2}));
    Adam adam(params);
    const Variables g{leaf({1, bad})};
    const double norm = gradient_norm(g);
    EXPECT_FALSE(std::isfinite(norm));
    EXPECT_THAT(
        message_of<ValueError>([&] { adam.step(params.values(), g, 0.1, clip_factor(norm, 1)); }),
        HasSubstr("finite"));
    EXPECT_THAT(values_of(params["w"]), ElementsAre(1, 2));
    EXPECT_THAT(adam.state().at("m.w").to_vector<double>(), ElementsAre(0, 0));
    EXPECT_THAT(adam.state().at("steps").to_vector<double>(), ElementsAre(0));
  }
}

// --------------------------------------------------------------------------------------- refusals

TEST(Optimizer, RefusesBeforeAnyWork) {
  const Params params = small_model();
  AdamW adamw(params);
  const Variables good = gradients_of(params, 1);
  const Variables& values = params.values();
  std::vector<Vec> before;
  for (const Variable& v : values) before.push_back(values_of(v));
  const auto step_with = [&](std::size_t index, const Variable& gradient) {
    return [&, index, gradient] {
      Variables g = good;
      g[index] = gradient;
      adamw.step(values, g, 0.1);
    };
  };
  EXPECT_THAT(message_of<ShapeError>([&] { adamw.step(values, Variables{good[0]}, 0.1); }),
              AllOf(HasSubstr("adamw"), HasSubstr("1 gradients"), HasSubstr("4 parameters")));
  EXPECT_THAT(message_of<ShapeError>(step_with(1, leaf({1, 2}, {2}, DType::f32))),
              AllOf(HasSubstr("gradient of 'layer.bias'"), HasSubstr("(2,)"), HasSubstr("(3,)")));
  EXPECT_THAT(message_of<DTypeError>(step_with(1, leaf({1, 2, 3}))),
              AllOf(HasSubstr("layer.bias"), HasSubstr("f64"), HasSubstr("cast()")));
  EXPECT_THAT(message_of<ValueError>(step_with(1, values[1])),
              AllOf(HasSubstr("layer.bias"), HasSubstr("share memory")));
  EXPECT_THAT(message_of<ValueError>(step_with(1, reshape(slice(values[0], 0, 1), {3}))),
              AllOf(HasSubstr("value of 'layer.weight'"), HasSubstr("gradient of 'layer.bias'")));
  for (const double rate : {-0.1, std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_THAT(message_of<ValueError>([&] { adamw.step(values, good, rate); }),
                HasSubstr("learning rate"));
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values_of(values[i]), before[i]);
}

TEST(Optimizer, RefusesParametersThatCannotBeUpdatedInPlace) {
  const Params strided = one(transpose(leaf({1, 2, 3, 4, 5, 6}, {2, 3}), 0, 1));
  Sgd sgd(strided);
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { sgd.step(strided.values(), Variables{full_like(strided["w"], 1)}, 0.1); }),
              AllOf(HasSubstr("strided"), HasSubstr("contiguous()")));

  Params tied;
  const Variable all = leaf({1, 2, 3, 4});
  tied.add("all", all);
  tied.add("end", slice(all, 0, 3));
  Sgd both(tied);
  EXPECT_THAT(message_of<ValueError>([&] {
                both.step(tied.values(), Variables{leaf({1, 2, 3, 4}), leaf({1})}, 0.1);
              }),
              AllOf(HasSubstr("'all'"), HasSubstr("'end'"), HasSubstr("share memory")));

  EXPECT_THAT(message_of<DTypeError>([] { Sgd(one(leaf({1}, {1}, DType::bf16))); }),
              AllOf(HasSubstr("'w'"), HasSubstr("bf16")));
}

TEST(Optimizer, RefusesOptionsOutOfRange) {
  const Params params = one(leaf({1}));
  const auto sgd = [&](SgdOptions o) { return [&params, o] { Sgd(params, o); }; };
  const auto adam = [&](AdamOptions o) { return [&params, o] { AdamW(params, o); }; };
  EXPECT_THAT(message_of<ValueError>(sgd({.momentum = 1})), HasSubstr("momentum is 1"));
  EXPECT_THAT(message_of<ValueError>(sgd({.nesterov = true})), HasSubstr("Nesterov"));
  EXPECT_THAT(message_of<ValueError>(sgd({.weight_decay = -1})), HasSubstr("weight_decay is -1"));
  EXPECT_THAT(message_of<ValueError>(adam({.beta1 = 1})), HasSubstr("beta1"));
  EXPECT_THAT(message_of<ValueError>(adam({.beta2 = -0.1})), HasSubstr("beta2"));
  EXPECT_THAT(message_of<ValueError>(adam({.eps = 0})), HasSubstr("eps"));
  EXPECT_THAT(message_of<ValueError>(adam({.weight_decay = std::nan("")})),
              HasSubstr("weight_decay"));
  EXPECT_THAT(message_of<ValueError>([&] {
                Sgd(params, {}, [](auto, const auto&) { return ParameterRule{-1, 1}; });
              }),
              HasSubstr("rate factor is -1"));
}

}  // namespace
}  // namespace mettle::test
