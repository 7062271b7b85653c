// Meta-gradients: against a closed form, against central differences through an encoder, tasks
// together against tasks alone, recomputed against taped, and with constant memory over many steps.
#include "models/meta.h"

#include <gmock/gmock.h>

#include "autograd/fused.h"
#include "autograd/gradcheck.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "engine/allocator.h"
#include "engine/parallel.h"
#include "models/encoder.h"
#include "tests/autograd/message_of.h"
#include "tests/models/models_test_util.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

// ------------------------------------------------------------------------------------- quadratic

/// Support loss 1/2 (w - a)' A (w - a) and query loss 1/2 |w - b|^2. Gradient descent gives
/// w_k = a + M^k (w_0 - a) with M = 1 - rate A, so the meta-gradient is M^k (w_k - b), and the
/// rate's -k (w_k - b)' A M^(k-1) (w_0 - a).
struct Quadratic {
  Variable curvature = [] {
    const Variable root = random({3, 3}, 1);
    return matmul(root, transpose(root, 0, 1)) * 0.3;
  }();
  Variable support_target = random({3, 1}, 2), query_target = random({3, 1}, 3);
  Variable start = random({3, 1}, 4);
  double rate = 0.1;

  Variable support(const Params& p) const {
    const Variable d = p["w"] - support_target;
    return sum(d * matmul(curvature, d)) * 0.5;
  }
  Variable query(const Params& p) const { return sum(square(p["w"] - query_target)) * 0.5; }

  Variable shrink(Variable v, int times) const {
    for (int i = 0; i < times; ++i) v = v - matmul(curvature, v) * rate;
    return v;
  }
  Variable adapted(int steps) const {
    return support_target + shrink(start - support_target, steps);
  }
};

class MetaQuadratic : public testing::TestWithParam<std::tuple<int, MetaMemory>> {
 protected:
  const Quadratic problem;
  const int steps = std::get<0>(GetParam());

  MetaGradient run(MetaOrder order) const {
    Params initial, rates;
    initial.add("w", problem.start.detach_requires_grad());
    rates.add("w", full({}, problem.rate, DType::f64).detach_requires_grad());
    return meta_gradient(
        initial, rates, [&](const Params& p) { return problem.support(p); },
        [&](const Params& p) { return problem.query(p); },
        {.steps = steps, .order = order, .memory = std::get<1>(GetParam())});
  }
};

TEST_P(MetaQuadratic, SecondOrderIsTheClosedForm) {
  const MetaGradient meta = run(MetaOrder::second);
  const Variable error = problem.adapted(steps) - problem.query_target;
  EXPECT_NEAR(meta.loss.item(), sum(square(error)).item() / 2, 1e-13);
  EXPECT_LT(distance(meta.parameters["w"], problem.shrink(error, steps)), 1e-13);
  if (steps == 0) {
    EXPECT_FALSE(meta.rates["w"].defined());
    return;
  }
  const Variable travelled = problem.shrink(problem.start - problem.support_target, steps - 1);
  const Variable slope =
      sum(error * matmul(problem.curvature, travelled)) * -static_cast<double>(steps);
  EXPECT_LT(distance(meta.rates["w"], slope), 1e-13);
}

TEST_P(MetaQuadratic, FirstOrderIsTheQueryGradientOfTheAdaptedWeights) {
  const MetaGradient meta = run(MetaOrder::first);
  EXPECT_LT(distance(meta.parameters["w"], problem.adapted(steps) - problem.query_target), 1e-13);
}

INSTANTIATE_TEST_SUITE_P(StepsAndMemory, MetaQuadratic,
                         testing::Combine(testing::Values(0, 1, 2, 5),
                                          testing::Values(MetaMemory::taped,
                                                          MetaMemory::recomputed)));

// --------------------------------------------------------------------------------------- encoder

/// Regression and classification of sequences by a two-layer encoder, T tasks at once.
struct EncoderTask {
  static constexpr std::int64_t tasks = 2, examples = 3, tokens = 3, dim = 4;
  Encoder encoder{"encoder",
                  {.dim = dim, .layers = 2, .heads = 2, .hidden = 5, .dropout = 0.2, .eps = 0.1}};
  Linear head{"head", dim, 1};
  Variable support_x = random({tasks, examples, tokens, dim}, 11);
  Variable query_x = random({tasks, examples, tokens, dim}, 12);
  Variable likes =
      Variable(Tensor::from<double>(std::vector<double>{1, 0, 0, 1, 1, 0}, {tasks, examples}));

  Params weights() const {
    Params params;
    Generator random(5);
    encoder.init(params, random, {.dtype = DType::f64});
    head.init(params, random, {.dtype = DType::f64});
    return perturbed(params, 0.1);
  }
  Params rates(const Params& params) const {
    Variables values;
    for (std::size_t i = 0; i < params.size(); ++i)
      values.push_back(uniform(params.values()[i].shape(), {77, i}, 0.02, 0.06, DType::f64)
                           .detach_requires_grad());
    return params.with_values(std::move(values));
  }
  /// Sum of the losses of all tasks in x (T, B, N, dim); weights may be those of T tasks or shared.
  Variable loss(const Params& p, const Variable& x, const Variable& y, PhiloxKey key) const {
    const Variable seen = encoder(p, x, {.dropout_key = key});
    const Variable logits = reshape(head(p, mean(seen, {-2})), y.shape());
    return bce_with_logits(logits, y, {.reduction = Reduction::sum});
  }
  /// The same without dropout, which counts elements of the whole batch.
  LossFunction plain_loss(const Variable& x, const Variable& y) const {
    return [this, x, y](const Params& p) {
      const Variable logits = reshape(head(p, mean(encoder(p, x), {-2})), y.shape());
      return bce_with_logits(logits, y, {.reduction = Reduction::sum});
    };
  }
  LossFunction support() const {
    return [this](const Params& p) { return loss(p, support_x, likes, {9, 1}); };
  }
  LossFunction query() const {
    return [this](const Params& p) { return loss(p, query_x, 1.0 - likes, {9, 2}); };
  }
};

class MetaEncoder : public testing::TestWithParam<MetaMemory> {};

TEST_P(MetaEncoder, ThreeInnerStepsAgreeWithCentralDifferences) {
  const EncoderTask task;
  const Params params = task.weights(), rates = task.rates(params);
  const AdaptOptions options{.steps = 3, .memory = GetParam(), .tasks = EncoderTask::tasks};
  Variables inputs = params.values();
  inputs.insert(inputs.end(), rates.values().begin(), rates.values().end());
  const Function f = [&](std::span<const Variable> in) {
    const auto split = in.begin() + static_cast<std::ptrdiff_t>(params.size());
    return Variables{
        task.query()(adapt(params.with_values({in.begin(), split}),
                           rates.with_values({split, in.end()}), task.support(), options))};
  };
  const auto report = gradcheck(f, inputs, {.step = 2e-4});
  EXPECT_TRUE(report) << report.where;
  EXPECT_LT(report.worst, 1e-8);

  // meta_gradient() is that gradient.
  const MetaGradient meta = meta_gradient(params, rates, task.support(), task.query(), options);
  const Variables direct = grad(f(inputs)[0], inputs);
  for (std::size_t i = 0; i < params.size(); ++i) {
    EXPECT_EQ(distance(meta.parameters.values()[i], direct[i]), 0.0) << params.names()[i];
    EXPECT_EQ(distance(meta.rates.values()[i], direct[params.size() + i]), 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Memory, MetaEncoder,
                         testing::Values(MetaMemory::taped, MetaMemory::recomputed));

TEST(Meta, TasksTogetherAreTasksAlone) {
  const EncoderTask task;
  const Params params = task.weights(), rates = task.rates(params);
  const MetaGradient together =
      meta_gradient(params, rates, task.plain_loss(task.support_x, task.likes),
                    task.plain_loss(task.query_x, 1.0 - task.likes), {.steps = 2, .tasks = 2});
  Variables sums(params.size());
  for (std::int64_t t = 0; t < EncoderTask::tasks; ++t) {
    const auto of_task = [t](const Variable& x) { return contiguous(select(x, 0, t)); };
    const MetaGradient alone = meta_gradient(
        params, rates, task.plain_loss(of_task(task.support_x), of_task(task.likes)),
        task.plain_loss(of_task(task.query_x), of_task(1.0 - task.likes)), {.steps = 2});
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const Variable& g = alone.parameters.values()[i];
      sums[i] = sums[i] ? sums[i] + g : g;
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    EXPECT_LT(distance(together.parameters.values()[i], sums[i]), 1e-12) << params.names()[i];
}

TEST(Meta, RecomputedKeepsNoTapeOfTheSteps) {
  const EncoderTask task;
  const Params params = task.weights(), rates = task.rates(params);
  const auto nodes = [&](MetaMemory memory, int steps) {
    const std::size_t before = Node::live_count();
    const Params adapted = adapt(params, rates, task.support(),
                                 {.steps = steps, .memory = memory, .tasks = EncoderTask::tasks});
    return Node::live_count() - before;
  };
  const std::size_t per_taped_step = nodes(MetaMemory::taped, 3) - nodes(MetaMemory::taped, 2);
  const std::size_t per_recomputed_step =
      nodes(MetaMemory::recomputed, 3) - nodes(MetaMemory::recomputed, 2);
  EXPECT_EQ(per_recomputed_step, 1u);
  EXPECT_GT(per_taped_step, 100u);
}

TEST(Meta, OnlyTheParametersWithARateAdapt) {
  const EncoderTask task;
  const Params params = task.weights();
  const auto is_head = [](std::string_view name) { return name.starts_with("head."); };
  const Params rates = inner_rates(params, 0.2, is_head);
  const AdaptOptions options{.steps = 2, .tasks = EncoderTask::tasks};
  const NoGrad off;  // evaluation: nothing is recorded, yet the inner steps differentiate
  const Params adapted = adapt(params, rates, task.support(), options);
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Variable& was = params.values()[i];
    const Variable& is = adapted.values()[i];
    if (is_head(params.names()[i])) {
      EXPECT_EQ(is.size(0), EncoderTask::tasks);
      EXPECT_GT(distance(select(is, 0, 0), select(is, 0, 1)), 0.0);
    } else {
      EXPECT_EQ(is.value().data(), was.value().data()) << params.names()[i];
    }
    EXPECT_FALSE(is.requires_grad() && !was.requires_grad());
  }
  EXPECT_LT(task.support()(adapted).item(), task.support()(params).item());
}

TEST(Meta, AThousandMetaStepsDoNotGrowInMemory) {
  const EncoderTask task;
  Params params = task.weights();
  const Params rates = inner_rates(params, 0.1);
  const Allocator& memory = allocator(Device::cpu());
  const auto in_use = [&] {
    const AllocatorStats stats = memory.stats();
    return std::vector<std::size_t>{stats.live_bytes, stats.live_blocks, Node::live_count()};
  };
  std::vector<std::size_t> early, late;
  double first_loss = 0.0, last_loss = 0.0;
  for (int i = 0; i < 1000; ++i) {
    const MetaGradient meta = meta_gradient(params, rates, task.support(), task.support(),
                                            {.steps = 1, .tasks = EncoderTask::tasks});
    Variables next;
    for (std::size_t j = 0; j < params.size(); ++j)
      next.push_back((params.values()[j].detach() - meta.parameters.values()[j] * 0.01)
                         .detach_requires_grad());
    params = params.with_values(std::move(next));
    (i == 0 ? first_loss : last_loss) = meta.loss.item();
    (i < 10 ? early : late) = in_use();
  }
  EXPECT_EQ(late, early);
  EXPECT_LT(last_loss, 0.5 * first_loss);
}

TEST(Meta, GroupsOnThreadsOfTheirOwnAddUpToTheWholeBatch) {
  const EncoderTask task;
  const Params params = task.weights(), rates = task.rates(params);
  std::vector<TaskGroup> groups;
  for (std::int64_t t = 0; t < EncoderTask::tasks; ++t) {
    const auto of_group = [t](const Variable& x) { return slice(x, 0, t, t + 1); };
    const Variable likes = of_group(task.likes);
    groups.push_back({task.plain_loss(of_group(task.support_x), likes),
                      task.plain_loss(of_group(task.query_x), 1.0 - likes)});
  }
  const MetaGradient whole = meta_gradient(
      params, rates, task.plain_loss(task.support_x, task.likes),
      task.plain_loss(task.query_x, 1.0 - task.likes), {.steps = 2, .tasks = EncoderTask::tasks});
  std::vector<MetaGradient> grouped;
  const int before = threads();
  for (const int count : kThreadCounts) {
    set_threads(count);
    grouped.push_back(meta_gradient(params, rates, groups, {.steps = 2, .tasks = 1}));
  }
  set_threads(before);
  EXPECT_NEAR(grouped[0].loss.item(), whole.loss.item(), 1e-12);
  for (const auto part : {&MetaGradient::parameters, &MetaGradient::rates}) {
    for (std::size_t i = 0; i < params.size(); ++i) {
      const Variable& one = (grouped[0].*part).values()[i];
      EXPECT_LT(distance(one, (whole.*part).values()[i]), 1e-12) << params.names()[i];
      for (const MetaGradient& other : grouped)
        EXPECT_EQ(distance((other.*part).values()[i], one), 0.0) << params.names()[i];
    }
  }
}

TEST(Meta, RefusalsNameTheParameter) {
  const EncoderTask task;
  const Params params = task.weights();
  Params unknown;
  unknown.add("heads.weight", full({}, 0.1, DType::f64));
  EXPECT_THAT(message_of<ValueError>([&] { adapt(params, unknown, task.support(), {}); }),
              testing::HasSubstr("no parameter 'heads.weight'"));
  const auto constant = [](const Params& p) { return sum(p["head.bias"]); };
  EXPECT_THAT(
      message_of<AutogradError>([&] { adapt(params, inner_rates(params, 0.1), constant, {}); }),
      testing::AllOf(
          testing::HasSubstr("does not depend on 'encoder.layer.0.attention.qkv.weight'"),
          testing::HasSubstr("leave it out of the rates")));
  const auto many = [](const Params& p) { return p["head.weight"]; };
  EXPECT_THAT(message_of<ShapeError>([&] { adapt(params, inner_rates(params, 0.1), many, {}); }),
              testing::HasSubstr("must be a scalar"));
  EXPECT_THAT(message_of<ValueError>(
                  [&] { adapt(params, inner_rates(params, 0.1), constant, {.steps = -1}); }),
              testing::HasSubstr("neither can be negative"));
  EXPECT_THAT(message_of<ValueError>([&] {
                meta_gradient(params, inner_rates(params, 0.1), std::span<const TaskGroup>());
              }),
              testing::HasSubstr("there must be one at least"));
}

}  // namespace
}  // namespace mettle::test
