// A meta-loss through an encoder layer made of the fused operations: embedding, packed attention
// with padding and dropout, dropout + residual + layer norm, bias + GELU, binary cross-entropy.
#pragma once

#include "tests/autograd/fused_table.h"

namespace mettle::test::fused_maml {

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

inline Variables initial_weights() {
  const Shape shapes[count] = {
      {6, width}, {width, 3 * width}, {width, width}, {width}, {width},   {width, inner},
      {inner},    {inner, width},     {width},        {width}, {width, 1}};
  Variables weights;
  for (const Shape& shape : shapes) weights.push_back(random(shape, weights.size(), 0.5));
  return weights;
}

/// One row of weights for each task.
inline Variable per_task(const Variable& w) {
  Shape shape = w.shape();
  shape.insert(0, tasks);
  return expand(w, shape);
}

/// (T, B, N, D) x (T, D, M) with one matrix for each task.
inline Variable project(const Variable& x, const Variable& w) {
  Shape shape = x.shape();
  shape[3] = w.size(-1);
  return reshape(matmul(reshape(x, {tasks, examples * tokens, -1}), w), shape);
}

/// Logits (T, B) of items (T, B, N).
inline Variable logits_of(const Variables& w, const Variable& tokens_in, const Variable& valid,
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

/// Items that each task has liked, on one device.
struct MetaBatch {
  explicit MetaBatch(Device device = Device::cpu())
      : support(items({1, 2, 0, 3, 4, 5, 2, 2, 1, 5, 0, 0}, device)),
        query(items({4, 1, 3, 2, 0, 0, 5, 1, 0, 3, 3, 4}, device)),
        none(full({}, 0.0, DType::i64, device)),
        likes(Tensor::from<double>(std::vector<double>{1, 0, 0, 1}, {tasks, examples}).to(device)) {
  }

  Variable support, query, none, likes;

 private:
  static Variable items(const std::vector<std::int64_t>& ids, Device device) {
    return Variable(Tensor::from(ids, {tasks, examples, tokens}).to(device));
  }
};

/// The mean query loss of all tasks after `steps` gradient steps on their support examples; the
/// table is shared by the tasks and not adapted. `slope` makes the step of the gradient.
inline Variable meta_loss(std::span<const Variable> initial, const MetaBatch& batch, int steps,
                          Variable (*slope)(const Variable&) = alias) {
  Variables w{initial[table]};
  for (std::size_t i = qkv; i < count; ++i) w.push_back(per_task(initial[i]));
  for (int step = 0; step < steps; ++step) {
    const Variable loss =
        bce_with_logits(logits_of(w, batch.support, not_equal(batch.support, batch.none),
                                  static_cast<std::uint64_t>(step)),
                        batch.likes, {.reduction = Reduction::sum});
    const Variables adapted(w.begin() + qkv, w.end());
    const Variables slopes = grad(loss, adapted, {.create_graph = true});
    for (std::size_t i = qkv; i < count; ++i) w[i] = w[i] - slope(slopes[i - qkv]) * 0.3;
  }
  return bce_with_logits(logits_of(w, batch.query, not_equal(batch.query, batch.none), 100),
                         sub(1.0, batch.likes), {.pos_weight = 1.5});
}

}  // namespace mettle::test::fused_maml
