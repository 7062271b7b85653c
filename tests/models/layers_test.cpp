// Every layer: weights of T tasks in one call against one call per task, derivatives, and the
// encoder against its definition written with the plainest operations.
#include "models/layers.h"

#include <gmock/gmock.h>

#include <functional>

#include "autograd/gradcheck.h"
#include "models/encoder.h"
#include "tests/autograd/message_of.h"
#include "tests/models/models_test_util.h"

namespace mettle::test {
namespace {

constexpr std::int64_t tasks = 3, examples = 2, tokens = 5, dim = 4;
const InitOptions f64{.dtype = DType::f64};

struct LayerRow {
  std::string name;
  std::function<void(Params&, Generator&)> init;
  Variable input;  // (T, ...)
  std::function<Variable(const Params&, const Variable&)> apply;
};

std::ostream& operator<<(std::ostream& out, const LayerRow& row) { return out << row.name; }

/// Valid tokens of (T, B, N): a ragged number, none at all in one example.
Variable some_valid() {
  std::vector<std::uint8_t> valid;
  for (std::int64_t i = 0; i < tasks * examples; ++i)
    for (std::int64_t t = 0; t < tokens; ++t) valid.push_back(t < (2 * i) % (tokens + 1));
  return Variable(Tensor::from<std::uint8_t>(valid, {tasks, examples, tokens}));
}

Variable some_ids() {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < tasks * examples * tokens; ++i) ids.push_back((i * i + 3) % 7);
  return Variable(Tensor::from<std::int64_t>(ids, {tasks, examples, tokens}));
}

template <class Layer> LayerRow row(std::string name, const Layer& layer, Variable input) {
  return {std::move(name), [layer](Params& p, Generator& g) { layer.init(p, g, f64); },
          std::move(input), [layer](const Params& p, const Variable& x) { return layer(p, x); }};
}

/// eps is large: four numbers have small variances, at which central differences lose digits.
LayerRow encoder_row(std::string name, EncoderOptions options) {
  options.eps = 0.1;
  const Encoder encoder("e", options);
  return row(std::move(name), encoder, random({tasks, examples, tokens, dim}, 5));
}

std::vector<LayerRow> layer_rows() {
  const Variable x = random({tasks, examples, tokens, dim}, 1);
  std::vector<LayerRow> rows = {
      row("linear", Linear("l", dim, 3), x),
      row("linear_without_bias", Linear("l", dim, 3, Linear::Bias::without), x),
      row("linear_of_rows", Linear("l", dim, 3), random({tasks, examples, dim}, 2)),
      row("embedding", Embedding("t", 7, dim), some_ids()),
      row("embedding_with_padding", Embedding("t", 7, dim, 4), some_ids()),
      row("embedding_with_padding_0", Embedding("t", 7, dim, 0), some_ids()),
      row("feed_forward", FeedForward("f", dim, 6), x),
      row("feed_forward_tanh", FeedForward("f", dim, 6, GeluForm::tanh), x),
      row("attention", MultiHeadAttention("a", dim, 2), x),
      encoder_row("encoder_norm_before", {.dim = dim, .heads = 2, .hidden = 6}),
      encoder_row("encoder_norm_after",
                  {.dim = dim, .heads = 2, .hidden = 6, .norm = EncoderOptions::Norm::after}),
      encoder_row("encoder_one_layer", {.dim = dim, .layers = 1, .heads = 1, .hidden = 3}),
  };
  const LayerNorm norm("n", dim);
  rows.push_back({"layer_norm", [norm](Params& p, Generator&) { norm.init(p, f64); }, x,
                  [norm](const Params& p, const Variable& v) { return norm(p, v); }});
  return rows;
}

class Layers : public testing::TestWithParam<LayerRow> {
 protected:
  Params weights() const {
    Params params;
    Generator random(3);
    GetParam().init(params, random);
    return perturbed(params);
  }
};

TEST_P(Layers, WeightsOfTasksInOneCallAreOneCallPerTask) {
  const Params shared = weights();
  Variables stacked;
  for (std::size_t i = 0; i < shared.size(); ++i) {
    Shape shape = shared.values()[i].shape();
    shape.insert(0, tasks);
    stacked.push_back(random(shape, 50 + i));
  }
  const Params params = shared.with_values(stacked);
  const Variable together = GetParam().apply(params, GetParam().input);
  for (std::int64_t t = 0; t < tasks; ++t) {
    Variables own;
    for (const Variable& v : stacked) own.push_back(contiguous(select(v, 0, t)));
    const Variable alone =
        GetParam().apply(params.with_values(own), contiguous(select(GetParam().input, 0, t)));
    EXPECT_LT(distance(select(together, 0, t), alone), 1e-13) << "task " << t;
  }
}

TEST_P(Layers, DerivativesOfFirstAndSecondOrder) {
  const Params params = weights();
  Variables inputs = params.values();
  inputs.push_back(GetParam().input);
  const Function f = [&](std::span<const Variable> in) {
    return Variables{GetParam().apply(params.with_values({in.begin(), in.end() - 1}), in.back())};
  };
  const GradcheckOptions options{.step = 2e-4};
  const auto first = gradcheck(f, inputs, options);
  EXPECT_TRUE(first) << first.where;
  const auto second = gradgradcheck(f, inputs, options);
  EXPECT_TRUE(second) << second.where;
}

INSTANTIATE_TEST_SUITE_P(Rows, Layers, testing::ValuesIn(layer_rows()),
                         [](const auto& row_info) { return row_info.param.name; });

// ------------------------------------------------------------------------------------ definitions

Variable plain_norm(const Variable& x, const Variable& gamma, const Variable& beta) {
  const Variable centred = x - mean(x, {-1}, true);
  return centred * rsqrt(mean(square(centred), {-1}, true) + 1e-5) * gamma + beta;
}

Variable plain_softmax(const Variable& scores) {
  const Variable e = exp(scores - max(scores, -1, true));
  return e / sum(e, {-1}, true);
}

/// x (B, N, dim); the heads' columns of queries, keys and values lie one after the other.
Variable plain_attention(const Params& p, const std::string& name, const Variable& x,
                         std::int64_t heads) {
  const Variable qkv = matmul(x, p[name + ".qkv.weight"]) + p[name + ".qkv.bias"];
  const std::int64_t width = dim / heads;
  Variables seen;
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto part = [&](std::int64_t which) {
      return slice(qkv, -1, which * dim + h * width, which * dim + (h + 1) * width);
    };
    const Variable scores =
        matmul(part(0), transpose(part(1), -1, -2)) * (1.0 / std::sqrt(static_cast<double>(width)));
    seen.push_back(matmul(plain_softmax(scores), part(2)));
  }
  return matmul(concat(seen, -1), p[name + ".output.weight"]) + p[name + ".output.bias"];
}

Variable plain_feed_forward(const Params& p, const std::string& name, const Variable& x) {
  const Variable z = matmul(x, p[name + ".up.weight"]) + p[name + ".up.bias"];
  const Variable gelu = z * (erf(z * std::sqrt(0.5)) + 1.0) * 0.5;
  return matmul(gelu, p[name + ".down.weight"]) + p[name + ".down.bias"];
}

Variable plain_encoder(const Params& p, Variable x, const EncoderOptions& options) {
  const auto norm = [&](const std::string& name, const Variable& v) {
    return plain_norm(v, p[name + ".gamma"], p[name + ".beta"]);
  };
  const bool before = options.norm == EncoderOptions::Norm::before;
  for (std::int64_t i = 0; i < options.layers; ++i) {
    const std::string layer = "e.layer." + std::to_string(i);
    const std::string norm1 = layer + ".attention_norm", norm2 = layer + ".feed_forward_norm";
    const auto attend = [&](const Variable& v) {
      return plain_attention(p, layer + ".attention", v, options.heads);
    };
    const auto feed = [&](const Variable& v) {
      return plain_feed_forward(p, layer + ".feed_forward", v);
    };
    if (before) {
      x = x + attend(norm(norm1, x));
      x = x + feed(norm(norm2, x));
    } else {
      x = norm(norm1, x + attend(x));
      x = norm(norm2, x + feed(x));
    }
  }
  return before ? norm("e.norm", x) : x;
}

class EncoderNorm : public testing::TestWithParam<EncoderOptions::Norm> {
 protected:
  const EncoderOptions options{.dim = dim,
                               .layers = 3,
                               .heads = 2,
                               .hidden = 6,
                               .norm = GetParam(),
                               .dropout = 0.3,
                               .attention_dropout = 0.2};
  const Encoder encoder{"e", options};

  Params weights() const {
    Params params;
    Generator random(3);
    encoder.init(params, random, f64);
    return perturbed(params);
  }
};

TEST_P(EncoderNorm, IsItsDefinition) {
  const Params params = weights();
  const Variable x = random({examples, tokens, dim}, 1);
  EXPECT_LT(distance(encoder(params, x), plain_encoder(params, x, options)), 1e-12);
}

TEST_P(EncoderNorm, PaddedTokensDoNotReachTheOthers) {
  const Params params = weights();
  const Variable valid = select(some_valid(), 0, 1);  // 4 tokens, then none
  const Variable x = random({examples, tokens, dim}, 1), other = random({1, 1, dim}, 2);
  const Variable padded =
      unsqueeze(not_equal(cast(valid, DType::i64), full_like(cast(valid, DType::i64), 0)), -1);
  const Variable changed = where(padded, x, expand(other, x.shape()));
  const auto first_valid = [&](const Variable& in) {
    return slice(select(encoder(params, in, {.key_padding = valid}), 0, 0), 0, 0, 4);
  };
  EXPECT_EQ(distance(first_valid(x), first_valid(changed)), 0.0);
  EXPECT_GT(distance(first_valid(x), slice(select(encoder(params, x), 0, 0), 0, 0, 4)), 1e-3);
}

TEST_P(EncoderNorm, DropoutIsAFunctionOfItsKey) {
  const Params params = weights();
  const Variable x = random({examples, tokens, dim}, 1);
  const auto run = [&](std::optional<PhiloxKey> key) {
    return encoder(params, x, {.dropout_key = key});
  };
  EXPECT_EQ(distance(run(PhiloxKey{1, 2}), run(PhiloxKey{1, 2})), 0.0);
  EXPECT_GT(distance(run(PhiloxKey{1, 2}), run(PhiloxKey{1, 3})), 1e-3);
  EXPECT_GT(distance(run(PhiloxKey{1, 2}), run({})), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Both, EncoderNorm,
                         testing::Values(EncoderOptions::Norm::after,
                                         EncoderOptions::Norm::before));

TEST(Layers, RefusalsNameTheLayerAndTheShapes) {
  Params params;
  Generator generator(1);
  const Linear linear("head", 4, 2);
  linear.init(params, generator);
  EXPECT_THAT(message_of<ShapeError>([&] {
                linear(params, full({3, 5}, 1.0));
              }),
              testing::AllOf(testing::HasSubstr("(3, 5)"), testing::HasSubstr("head.weight (4, 2)"),
                             testing::HasSubstr("expected (..., 4)")));
  EXPECT_THAT(message_of<ValueError>([&] { linear.init(params, generator); }),
              testing::HasSubstr("'head.weight' already"));
  EXPECT_THAT(message_of<ValueError>([&] { MultiHeadAttention("a", 6, 4); }),
              testing::HasSubstr("4 heads do not divide width 6"));
  EXPECT_THAT(message_of<ValueError>([&] { Encoder("e", {.layers = 0}); }),
              testing::HasSubstr("encoder 'e': 0 layers"));
  EXPECT_THAT(message_of<ValueError>([&] { Encoder("e", {.dropout = 1.0}); }),
              testing::HasSubstr("not in [0, 1)"));
  EXPECT_THAT(message_of<ValueError>([&] { Linear("l", 0, 1); }),
              testing::HasSubstr("must be positive"));
  Params per_task;
  per_task.add("t.table", full({3, 7, 4}, 1.0));
  const Embedding table("t", 7, 4);
  EXPECT_THAT(message_of<ShapeError>([&] {
                table(per_task, cast(full({2, 5}, 1.0), DType::i64));
              }),
              testing::HasSubstr("the first axis of both is the task"));
  // An id past the end of a task's table must not read the next task's.
  EXPECT_THAT(message_of<ValueError>([&] {
                table(per_task, cast(full({3, 5}, 7.0), DType::i64));
              }),
              testing::HasSubstr("embedding"));
  EXPECT_THAT(message_of<ValueError>([&] {
                table(per_task, cast(full({3, 5}, -1.0), DType::i64));
              }),
              testing::HasSubstr("embedding"));
}

}  // namespace
}  // namespace mettle::test
