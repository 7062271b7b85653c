// The model and the methods as functions: shapes, gradients of the whole meta-objective against
// central differences, and what an empty support must not do.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "engine/check.h"
#include "recsys/neural/loss.h"
#include "recsys/neural/method.h"

namespace mettle {
namespace {

constexpr FeatureSizes kSizes{
    .numeric = 2, .factors = 2, .genres = 3, .words = 2, .years = 4, .ids = 3};
constexpr NeuralOptions kModel{.dim = 4, .layers = 1, .heads = 2, .hidden = 5, .dropout = 0.0};

Variable random(const Shape& shape, std::uint64_t seed) {
  return normal(shape, {seed, 7}, 0.0, 1.0, DType::f64);
}

Variable numbers(const std::vector<std::int64_t>& values, const Shape& shape) {
  return Variable(Tensor::from(values, shape));
}

// Two tasks; the second has one empty slot.
RatingBatch ratings(std::uint64_t seed, std::int64_t n) {
  const Shape shape{2, n};
  std::vector<std::int64_t> years, ids;
  std::vector<double> like, weight(static_cast<std::size_t>(2 * n), 1.0);
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    years.push_back((i + static_cast<std::int64_t>(seed)) % kSizes.years);
    ids.push_back(i % kSizes.ids);
    like.push_back(i % 3 == 0 ? 1.0 : 0.0);
  }
  weight.back() = 0.0;
  FeatureBatch rows{.numeric = random({2, n, kSizes.numeric}, seed),
                    .factors = random({2, n, kSizes.factors}, seed + 1),
                    .genres = random({2, n, kSizes.genres}, seed + 2),
                    .words = random({2, n, kSizes.words}, seed + 3),
                    .years = numbers(years, shape),
                    .ids = numbers(ids, shape)};
  return {std::move(rows), Variable(Tensor::from(like, shape)), random(shape, seed + 4),
          Variable(Tensor::from(weight, shape))};
}

Learned initial(const NeuralRecommender& model, const FewShotMethod& method) {
  Learned learned;
  Generator generator(5);
  model.init(learned.weights, generator, DType::f64);
  learned.adaptation = method.initial_adaptation(learned.weights, generator);
  return learned;
}

class MetaObjective : public testing::TestWithParam<NeuralMethod> {};

TEST_P(MetaObjective, GradientIsThatOfCentralDifferences) {
  const NeuralRecommender model(kSizes, kModel);
  const auto method = make_method(
      GetParam(), model, {.steps = 3, .head_rate = 0.1, .encoder_rate = 0.03, .ridge_factors = 2});
  const Learned start = initial(model, *method);
  const MetaBatch batch{ratings(1, 3), ratings(20, 2)};
  const Function objective = [&](std::span<const Variable> inputs) {
    // Adaptation differentiates, so recording must be on; gradcheck's numeric side turns it off.
    const GradMode on(true);
    const auto split = inputs.begin() + static_cast<std::ptrdiff_t>(start.weights.size());
    const Learned learned{start.weights.with_values({inputs.begin(), split}),
                          start.adaptation.with_values({split, inputs.end()})};
    return Variables{mean_loss(method->predict(learned, batch), batch.query)};
  };
  Variables inputs = start.weights.values();
  inputs.insert(inputs.end(), start.adaptation.values().begin(), start.adaptation.values().end());
  const auto report = gradcheck(objective, inputs);
  EXPECT_TRUE(report) << report.where;
}

INSTANTIATE_TEST_SUITE_P(Methods, MetaObjective,
                         testing::Values(NeuralMethod::joint, NeuralMethod::maml,
                                         NeuralMethod::anil, NeuralMethod::ridge),
                         [](const auto& method) { return std::string(method_name(method.param)); });

TEST(FewShotMethods, FirstAndSecondOrderPredictAlikeAndDifferInTheirGradients) {
  const NeuralRecommender model(kSizes, kModel);
  const AdaptationOptions options{.steps = 3, .head_rate = 0.5, .encoder_rate = 0.3};
  const auto second = make_method(NeuralMethod::maml, model, options);
  const auto first = make_method(NeuralMethod::fomaml, model, options);
  const Learned learned = initial(model, *second);
  const MetaBatch batch{ratings(1, 3), ratings(20, 2)};
  const Variable a = mean_loss(second->predict(learned, batch), batch.query);
  const Variable b = mean_loss(first->predict(learned, batch), batch.query);
  EXPECT_EQ(a.item(), b.item());
  const Variable& head = learned.weights["head.weight"];
  const Variable da = grad(a, {head})[0], db = grad(b, {head})[0];
  EXPECT_GT(sum(square(sub(da, db))).item(), 1e-4 * sum(square(da)).item());
}

TEST(FewShotMethods, AnEmptySupportChangesNothingAndASupportDoes) {
  const NeuralRecommender model(kSizes, kModel);
  const MetaBatch batch{ratings(1, 3), ratings(20, 2)};
  MetaBatch empty = batch;
  empty.support.weight = full({2, 3}, 0.0, DType::f64);
  for (const NeuralMethod name : kNeuralMethods) {
    if (name == NeuralMethod::joint) continue;
    const auto method = make_method(name, model, {.head_rate = 0.5, .encoder_rate = 0.3});
    const Learned learned = initial(model, *method);
    const NoGrad off;
    const auto plain = model(learned.weights, batch.query.features).like_logit.value();
    const auto unchanged = method->predict(learned, empty).like_logit.value();
    const auto moved = method->predict(learned, batch).like_logit.value();
    for (std::size_t i = 0; i < 4; ++i) {
      const double before = plain.to_vector<double>()[i];
      EXPECT_NEAR(unchanged.to_vector<double>()[i], before, 1e-12) << method_name(name);
      EXPECT_GT(std::abs(moved.to_vector<double>()[i] - before), 1e-6) << method_name(name);
    }
  }
}

TEST(FewShotMethods, NamesAreParsedAndUnknownOnesListTheKnown) {
  for (const NeuralMethod method : kNeuralMethods)
    EXPECT_EQ(parse_method(method_name(method)), method);
  try {
    parse_method("reptile");
    FAIL();
  } catch (const ValueError& error) {
    EXPECT_NE(error.message().find("joint+finetune, maml"), std::string::npos) << error.message();
  }
}

TEST(NeuralRecommender, DropoutNeedsAKeyAndRepeatsWithIt) {
  const NeuralRecommender model(kSizes, {.dim = 4, .layers = 1, .heads = 2, .hidden = 5});
  Params params;
  Generator generator(5);
  model.init(params, generator, DType::f64);
  const RatingBatch batch = ratings(1, 3);
  const auto logits = [&](std::optional<PhiloxKey> key) {
    return model(params, batch.features, key).like_logit.value().to_vector<double>();
  };
  EXPECT_EQ(logits({}), logits({}));
  EXPECT_EQ(logits(PhiloxKey{1, 2}), logits(PhiloxKey{1, 2}));
  EXPECT_NE(logits(PhiloxKey{1, 2}), logits({}));
  EXPECT_NE(logits(PhiloxKey{1, 2}), logits(PhiloxKey{1, 3}));
}

}  // namespace
}  // namespace mettle
