// Second-order meta-learning through an encoder layer made of the fused operations: the gradient
// with respect to the initial weights, through inner steps that are gradients themselves, against
// central differences.
#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

constexpr std::int64_t tasks = 2, examples = 2, tokens = 3, width = 4, heads = 2, inner = 5;

/// Weights of the layer and its head; with a leading task axis once a task has adapted them.
enum : std::size_t {
  table,
  qkv,
  out,
  gamma1,
  beta1,
  up,
  up_bias,
  down,
  gamma2,
  beta2,
  head,
  count
};

Variables initial_weights() {
  const Shape shapes[count] = {
      {6, width}, {width, 3 * width}, {width, width}, {width}, {width},   {width, inner},
      {inner},    {inner, width},     {width},        {width}, {width, 1}};
  Variables weights;
  for (const Shape& shape : shapes) weights.push_back(random(shape, weights.size(), 0.5));
  return weights;
}

/// One row of weights for each task.
Variable per_task(const Variable& w) {
  Shape shape = w.shape();
  shape.insert(0, tasks);
  return expand(w, shape);
}

/// (T, B, N, D) x (T, D, M) with one matrix for each task.
Variable project(const Variable& x, const Variable& w) {
  Shape shape = x.shape();
  shape[3] = w.size(-1);
  return reshape(matmul(reshape(x, {tasks, examples * tokens, -1}), w), shape);
}

/// Logits (T, B) of items (T, B, N).
Variable logits_of(const Variables& w, const Variable& tokens_in, const Variable& valid,
                   std::uint64_t step) {
  const Variable x = embedding(w[table], tokens_in, 0);
  const Variable packed =
      reshape(project(x, w[qkv]), {tasks, examples, tokens, 3, heads, width / heads});
  const Variable seen =
      attention_packed(packed, {.key_padding = valid, .dropout = 0.2, .key = {3, 3 * step}});
  const Variable mixed = project(reshape(seen, x.shape()), w[out]);
  const Variable h =
      dropout_residual_layer_norm(mixed, x, w[gamma1], w[beta1], 0.1, {3, 3 * step + 1}, 0.1)
          .normalized;
  const Variable fed = project(bias_gelu(project(h, w[up]), w[up_bias]), w[down]);
  const Variable y = layer_norm(h + dropout(fed, 0.1, {3, 3 * step + 2}), w[gamma2], w[beta2], 0.1);
  const Variable pooled = mean(y, {2});
  return reshape(matmul(pooled, w[head]), {tasks, examples});
}

/// The mean query loss of all tasks after `steps` gradient steps on their support examples; the
/// table is shared by the tasks and not adapted. `slope` makes the step of the gradient.
Variable meta_loss(std::span<const Variable> initial, int steps,
                   Variable (*slope)(const Variable&) = alias) {
  const Variable support(Tensor::from<std::int64_t>(
      std::vector<std::int64_t>{1, 2, 0, 3, 4, 5, 2, 2, 1, 5, 0, 0}, {tasks, examples, tokens}));
  const Variable query(Tensor::from<std::int64_t>(
      std::vector<std::int64_t>{4, 1, 3, 2, 0, 0, 5, 1, 0, 3, 3, 4}, {tasks, examples, tokens}));
  const Variable none = cast(full({}, 0.0), DType::i64);
  const Variable likes(Tensor::from<double>(std::vector<double>{1, 0, 0, 1}, {tasks, examples}));

  Variables w{initial[table]};
  for (std::size_t i = qkv; i < count; ++i) w.push_back(per_task(initial[i]));
  for (int step = 0; step < steps; ++step) {
    const Variable loss = bce_with_logits(
        logits_of(w, support, not_equal(support, none), static_cast<std::uint64_t>(step)), likes,
        {.reduction = Reduction::sum});
    const Variables adapted(w.begin() + qkv, w.end());
    const Variables slopes = grad(loss, adapted, {.create_graph = true});
    for (std::size_t i = qkv; i < count; ++i) w[i] = w[i] - slope(slopes[i - qkv]) * 0.3;
  }
  return bce_with_logits(logits_of(w, query, not_equal(query, none), 100), sub(1.0, likes),
                         {.pos_weight = 1.5});
}

class FusedMaml : public testing::TestWithParam<int> {};

TEST_P(FusedMaml, GradientThroughInnerStepsIsThatOfCentralDifferences) {
  const Function f = [](std::span<const Variable> initial) {
    // The inner loop differentiates, so recording must be on; gradcheck's numeric side turns it
    // off.
    const GradMode on(true);
    Variables w;
    for (const Variable& x : initial) w.push_back(x.requires_grad() ? x : x.detach_requires_grad());
    return Variables{meta_loss(w, GetParam())};
  };
  const Variables weights = initial_weights();
  const auto report = gradcheck(f, weights);
  EXPECT_TRUE(report) << report.where;
  EXPECT_LT(report.worst, 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Steps, FusedMaml, testing::Values(0, 1, 3));

TEST(FusedMaml, TheSecondOrderPartIsThere) {
  Variables w;
  for (const Variable& x : initial_weights()) w.push_back(x.detach_requires_grad());
  const auto constant = [](const Variable& dx) { return dx.detach(); };
  const Variable second = grad(meta_loss(w, 3), {w[qkv]})[0];
  const Variable first = grad(meta_loss(w, 3, constant), {w[qkv]})[0];
  EXPECT_GT(sum(square(second - first)).item(), 1e-4 * sum(square(second)).item());
}

}  // namespace
}  // namespace mettle::test
