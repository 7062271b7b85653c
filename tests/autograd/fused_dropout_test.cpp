// Dropout, alone and with residual and layer norm: rows of the table of fused operations, what they
// refuse, and what dropout drops.
#include <gmock/gmock.h>

#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::HasSubstr;

/// x with an element zeroed where the rule of engine/random.h drops it: the reference of dropout.
Variable dropped(const Variable& x, double p, PhiloxKey key) {
  std::vector<double> factors;
  for (std::int64_t i = 0; i < x.numel(); ++i)
    factors.push_back(dropout_keeps(key.bits(static_cast<std::uint64_t>(i)), drop_threshold(p))
                          ? 1 / (1 - p)
                          : 0);
  return x * cast(Variable(Tensor::from(factors, x.shape())), x.dtype());
}

FusedRow dropout_row(const char* name, const Variable& x, double p) {
  const PhiloxKey key{7, 21};
  return {name,
          {x},
          [=](In i) { return Variables{dropout(i[0], p, key)}; },
          [=](In i) { return Variables{dropped(i[0], p, key)}; }};
}

/// Inputs x, residual, gamma, beta. The sum is rounded to the dtype before it is normalised: what
/// follows carries that rounding as well as its own.
FusedRow norm_row(const char* name, const Variables& inputs, double p, double eps = 0.1) {
  const auto of = [=](auto f) {
    return [=](In i) {
      const ResidualNorm r = f(i[0], i[1], i[2], i[3], p, PhiloxKey{7, 22}, eps);
      return Variables{r.normalized, r.sum};
    };
  };
  return {
      name, inputs, of(dropout_residual_layer_norm), of(reference::dropout_residual_layer_norm), 64,
      {},   4};
}

/// One of the two results alone, so that the other's cotangent is null.
FusedRow single_row(const char* name, bool sum) {
  const auto of = [=](auto f) {
    return [=](In i) {
      const ResidualNorm r = f(i[0], i[1], i[2], Variable(), 0.5, PhiloxKey{7, 23}, 0.1);
      return Variables{sum ? r.sum * r.sum : r.normalized};
    };
  };
  return {name,
          {random({3, 4}, 1), random({3, 4}, 2), random({4}, 3)},
          of(dropout_residual_layer_norm),
          of(reference::dropout_residual_layer_norm),
          64,
          {},
          8};
}

TEST(Dropout, RefusesWithNamesAndTheRemedy) {
  const Variable x = random({2, 3}, 1), none;
  EXPECT_THAT(message_of<ValueError>([&] { dropout(x, 1.0, {}); }), HasSubstr("[0, 1)"));
  EXPECT_THAT(message_of<ValueError>([&] { dropout(x, std::nan(""), {}); }), HasSubstr("[0, 1)"));
  EXPECT_THAT(message_of<DTypeError>([&] { dropout(arange(3), 0.5, {}); }), HasSubstr("i64"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { dropout_residual_layer_norm(x, random({3}, 2), none, none, 0.1, {}); }),
              AllOf(HasSubstr("residual"), HasSubstr("(2, 3)"), HasSubstr("(3,)")));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { dropout_residual_layer_norm(x, x, random({2}, 2), none, 0.1, {}); }),
              AllOf(HasSubstr("dropout_residual_layer_norm: gamma"), HasSubstr("(2,)")));
  EXPECT_THAT(
      message_of<ValueError>([&] { dropout_residual_layer_norm(x, x, none, none, -0.1, {}); }),
      HasSubstr("[0, 1)"));
  EXPECT_THAT(message_of<DTypeError>([&] {
                dropout_residual_layer_norm(x, cast(x, DType::f32), none, none, 0.1, {});
              }),
              HasSubstr("cast()"));
}

TEST(Dropout, TheSumIsSharedSafely) {
  const Variable x = random({2, 3}, 1).detach_requires_grad();
  const ResidualNorm r = dropout_residual_layer_norm(x, x, Variable(), Variable(), 0.1, {});
  r.sum.value().note_write("scribble");
  EXPECT_THAT(message_of<AutogradError>([&] { grad(sum(r.normalized), {x}); }),
              HasSubstr("scribble"));
}

// Bits of the value and of the gradient of a gradient.
TEST(RandomKey, AStoredKeyIsTheKey) {
  const auto results = [](const RandomKey& key) {
    const Variable x = random({2, 3, 4}, 1).detach_requires_grad(),
                   packed = random({2, 5, 3, 2, 4}, 2).detach_requires_grad();
    const Variable y =
        dropout_residual_layer_norm(x, x, Variable(), Variable(), 0.4, key.fork(1)).normalized;
    const Variable z = attention_packed(packed, {.dropout = 0.4, .key = key.fork(2)});
    const Variable first = sum(square(y)) + sum(square(z)) + sum(x * dropout(x, 0.4, key));
    const Variables g = grad(first, {x, packed}, {.create_graph = true});
    Variables all = grad(sum(square(g[0])) + sum(square(g[1])), {x, packed});
    all.insert(all.end(), {y, z, uniform({5}, key), normal({5}, key), randint({5}, key, 0, 99),
                           permutation(9, key.fork(3).fork(4))});
    std::vector<std::vector<double>> values;
    for (const Variable& v : all) values.push_back(v.value().to_vector<double>());
    return values;
  };
  const PhiloxKey key{0xfedcba9876543210ull, ~std::uint64_t{0}};
  EXPECT_EQ(results(RandomKey(to_tensor(key))), results(key));
  EXPECT_NE(results(RandomKey(to_tensor({1, 2}))), results(key));
}

TEST(RandomKey, IsWhatTheTensorHeldWhenItWasMade) {
  const Tensor tensor = to_tensor({1, 2});
  const RandomKey key(tensor);
  tensor.copy_from(to_tensor({3, 4}));
  const auto drawn = [](const RandomKey& k) { return uniform({4}, k).value().to_vector<double>(); };
  EXPECT_EQ(drawn(key), drawn({1, 2}));
  EXPECT_EQ(drawn(RandomKey(tensor)), drawn({3, 4}));
}

TEST(RandomKey, RefusesWhatIsNoKey) {
  EXPECT_THAT(message_of<DTypeError>([] { RandomKey(Tensor::zeros({2})); }),
              AllOf(HasSubstr("f32"), HasSubstr("to_tensor()")));
  EXPECT_THAT(message_of<ShapeError>([] { RandomKey(Tensor::zeros({3}, DType::i64)); }),
              AllOf(HasSubstr("(3,)"), HasSubstr("to_tensor()")));
}

}  // namespace

std::vector<FusedRow> dropout_rows() {
  const Variable none, x = random({2, 3, 4}, 1), residual = random({2, 3, 4}, 2);
  const Variable shared = random({4}, 3), per_task = random({2, 4}, 3);
  return {
      dropout_row("dropout", random({3, 7}, 1), 0.4),
      dropout_row("dropout_nothing", random({5}, 1), 0.0),
      dropout_row("dropout_almost_all", random({50}, 1), 0.95),
      {"dropout_stored_key",
       {random({3, 7}, 1)},
       [](In i) {
         return Variables{dropout(i[0], 0.4, RandomKey(to_tensor({1, 2})).fork(3))};
       },
       [](In i) {
         return Variables{dropped(i[0], 0.4, PhiloxKey{1, 2}.fork(3))};
       }},
      dropout_row("dropout_empty", random({0, 3}, 1), 0.5),
      {"dropout_strided",
       {random({3, 5}, 1)},
       [](In i) {
         return Variables{dropout(transpose(i[0], 0, 1), 0.3, {1, 2})};
       },
       [](In i) {
         return Variables{dropped(transpose(i[0], 0, 1), 0.3, {1, 2})};
       }},
      norm_row("residual_norm", {x, residual, shared, random({4}, 4)}, 0.3),
      norm_row("residual_norm_per_task", {x, residual, per_task, random({2, 4}, 4)}, 0.3),
      norm_row("residual_norm_no_weights", {x, residual, none, none}, 0.6),
      norm_row("residual_norm_no_dropout", {x, residual, shared, none}, 0.0),
      norm_row("residual_norm_empty", {random({0, 4}, 1), random({0, 4}, 2), shared, none}, 0.1),
      single_row("residual_norm_normalized_alone", false),
      single_row("residual_norm_sum_alone", true)};
}

}  // namespace mettle::test
