// Attention, separate and packed: rows of the table of fused operations, what it refuses, and its
// memory.
#include <gmock/gmock.h>

#include <cmath>

#include "engine/allocator.h"
#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::HasSubstr;

constexpr double infinity = std::numeric_limits<double>::infinity();

Variable bits(const Shape& shape, const std::vector<std::uint8_t>& values, DType dtype) {
  return cast(Variable(Tensor::from(values, shape)), dtype);
}
Variable constant(const Shape& shape, const std::vector<double>& values) {
  return Variable(Tensor::from(values, shape));
}

/// Inputs q, k, v, mask, key_padding.
FusedRow row(std::string name, const Shape& q, const Shape& k, const Shape& v,
             const AttentionOptions& options = {}) {
  const auto of = [options](auto f) {
    return [f, options](In i) {
      AttentionOptions o = options;
      o.mask = i[3];
      o.key_padding = i[4];
      return Variables{f(i[0], i[1], i[2], o)};
    };
  };
  return {"attention_" + std::move(name),
          {random(q, 1), random(k, 2), random(v, 3), options.mask, options.key_padding},
          of(attention),
          of(reference::attention),
          256,
          {3}};
}

/// Inputs qkv, mask, key_padding.
FusedRow packed_row(std::string name, const Shape& qkv, const AttentionOptions& options = {}) {
  const auto of = [options](auto f) {
    return [f, options](In i) {
      AttentionOptions o = options;
      o.mask = i[1];
      o.key_padding = i[2];
      return Variables{f(i[0], o)};
    };
  };
  return {"attention_packed_" + std::move(name),
          {random(qkv, 1), options.mask, options.key_padding},
          of(attention_packed),
          of(reference::attention_packed),
          256,
          {1}};
}

/// q, k, v made of the inputs by `views`, the same for both sides.
FusedRow view_row(std::string name, Variables inputs, const std::function<Variables(In)>& views,
                  int parts = 1) {
  const auto of = [=](auto f) {
    return [=](In i) {
      const Variables x = views(i);
      return Variables{f(x[0], x[1], x[2], AttentionOptions{})};
    };
  };
  return {"attention_" + std::move(name),
          std::move(inputs),
          of(attention),
          of(reference::attention),
          256,
          {},
          parts};
}

std::vector<FusedRow> masked_rows() {
  const Shape q{2, 2, 3, 2}, k{2, 2, 4, 2};
  const Variable full_mask = random({2, 2, 3, 4}, 7);
  const Variable holes = constant({3, 4}, {0, -infinity, 0.5, 0, -infinity, -infinity, -infinity,
                                           -infinity, 1, 2, -infinity, -1});  // row 1: no valid key
  const Variable nothing = full({1, 1}, -infinity, DType::f64);
  const Variable ragged = bits({2, 4}, {1, 1, 0, 1, 0, 1, 1, 0}, DType::boolean);
  const Variable none_valid = bits({2, 4}, {1, 1, 0, 255, 0, 0, 0, 0}, DType::u8);
  return {
      row("mask", q, k, k, {.mask = full_mask}),
      row("mask_per_head", q, k, k, {.mask = random({2, 1, 4}, 7)}),
      row("mask_per_batch", q, k, k, {.mask = random({2, 1, 1, 4}, 7)}),
      row("mask_vector", q, k, k, {.mask = random({4}, 7)}),
      row("mask_strided", q, k, k, {.mask = transpose(random({2, 2, 4, 3}, 7), -2, -1)}),
      row("mask_holes", q, k, k, {.mask = holes}),
      row("mask_everything", q, k, k, {.mask = nothing}),
      row("padding", q, k, k, {.key_padding = ragged}),
      row("padding_one_for_all", q, k, k, {.key_padding = select(ragged, 0, 0)}),
      row("padding_none_valid", q, k, k, {.key_padding = none_valid}),
      row("causal", {2, 2, 4, 2}, {2, 2, 4, 2}, {2, 2, 4, 2}, {.causal = true}),
      row("causal_more_keys", q, k, k, {.causal = true}),
      row("causal_more_queries", k, q, q, {.causal = true}),  // the first query sees nothing
      row("all_masks", q, k, k, {.mask = holes, .key_padding = ragged, .causal = true}),
  };
}

std::vector<FusedRow> shape_rows() {
  const Shape q{2, 2, 3, 2}, k{2, 2, 4, 2};
  return {
      row("plain", q, k, k),
      row("scale", q, k, k, {.scale = 0.3}),
      row("wide_values", q, k, {2, 2, 4, 3}),
      row("narrow_values", {1, 2, 3, 4}, {1, 2, 2, 4}, {1, 2, 2, 1}),
      row("no_batch_axis", {2, 3, 2}, {2, 4, 2}, {2, 4, 2}),
      row("one_key", {1, 1, 2, 3}, {1, 1, 1, 3}, {1, 1, 1, 3}),
      row("tasks", {2, 2, 1, 3, 2}, {2, 2, 1, 2, 2}, {2, 2, 1, 2, 2},
          {.mask = random({2, 1, 1, 1, 2}, 7),
           .key_padding = bits({2, 1, 2}, {1, 0, 1, 1}, DType::boolean)}),
      row("no_keys", q, {2, 2, 0, 2}, {2, 2, 0, 2}),
      row("no_queries", {2, 2, 0, 2}, k, k),
      row("no_batch", {0, 2, 3, 2}, {0, 2, 4, 2}, {0, 2, 4, 2}),
      row("odd_sizes", {1, 1, 5, 3}, {1, 1, 7, 3}, {1, 1, 7, 5}),
  };
}

std::vector<FusedRow> strided_rows() {
  return {
      view_row(
          "rows_first", {random({2, 3, 2, 2}, 1), random({2, 4, 2, 2}, 2), random({2, 4, 2, 3}, 3)},
          [](In i) {
            return Variables{transpose(i[0], 1, 2), transpose(i[1], 1, 2), transpose(i[2], 1, 2)};
          }),
      view_row("columns_first",
               {random({1, 2, 2, 3}, 1), random({1, 2, 2, 4}, 2), random({1, 2, 4, 2}, 3)},
               [](In i) {
                 return Variables{transpose(i[0], 2, 3), transpose(i[1], 2, 3), i[2]};
               }),
      view_row(
          "every_other_row", {random({1, 2, 6, 2}, 1), random({1, 2, 4, 2}, 2)},
          [](In i) {
            return Variables{slice(i[0], 2, 1, to_end, 2), i[1], i[1]};
          },
          2),
      view_row(
          "shared_keys", {random({2, 3, 2, 2}, 1), random({2, 1, 4, 2}, 2)},
          [](In i) {
            const Variable k = expand(i[1], {2, 3, 4, 2});
            return Variables{i[0], k, k};
          },
          6),
      view_row(
          "tasks_swapped", {random({2, 3, 1, 2, 2}, 1), random({3, 2, 1, 2, 2}, 2)},
          [](In i) {
            return Variables{i[0], transpose(i[1], 0, 1), transpose(i[1], 0, 1)};
          },
          2),
      view_row(
          "one_variable", {random({2, 2, 3, 2}, 1)},
          [](In i) {
            return Variables{i[0], i[0], i[0]};
          },
          3),
  };
}

std::vector<FusedRow> dropout_attention_rows() {
  const Shape q{2, 2, 3, 2}, k{2, 2, 4, 2};
  const Variable hole = constant({4}, {0, -infinity, 0.5, 0});
  return {
      row("dropout", q, k, k, {.dropout = 0.4, .key = {17, 3}}),
      row("dropout_masked", q, k, k,
          {.mask = hole, .causal = true, .dropout = 0.25, .key = {17, 4}}),
      packed_row("dropout", {2, 2, 3, 3, 2, 2}, {.dropout = 0.5, .key = {17, 5}}),
  };
}

std::vector<FusedRow> packed_rows() {
  return {
      packed_row("plain", {2, 3, 3, 2, 2}),
      packed_row("no_batch_axis", {4, 3, 1, 3}),
      packed_row("tasks", {2, 2, 3, 3, 1, 2},
                 {.mask = random({2, 1, 1, 1, 3}, 7),
                  .key_padding = bits({2, 2, 3}, {1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0}, DType::u8)}),
      packed_row("causal", {1, 4, 3, 2, 2}, {.scale = 1.5, .causal = true}),
      packed_row("empty", {2, 0, 3, 2, 2}),
  };
}

TEST(Attention, RefusesWithNamesAndTheRemedy) {
  const Variable q = random({2, 2, 3, 4}, 1), k = random({2, 2, 5, 4}, 2);
  const auto refusal = [&](const AttentionOptions& options) {
    return [&, options] { attention(q, k, k, options); };
  };
  EXPECT_THAT(message_of<ShapeError>([&] {
                attention(q, random({2, 2, 5, 3}, 3), k);
              }),
              AllOf(HasSubstr("attention: q (2, 2, 3, 4)"), HasSubstr("(2, 2, 5, 3)"),
                    HasSubstr("(..., H, Nk, D)")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                attention(q, random({1, 2, 5, 4}, 3), k);
              }),
              HasSubstr("expand()"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                attention(q, k, random({2, 2, 4, 4}, 3));
              }),
              HasSubstr("v (2, 2, 4, 4)"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                attention(random({3, 4}, 1), random({3, 4}, 1), random({3, 4}, 1));
              }),
              HasSubstr("(3, 4)"));
  EXPECT_THAT(message_of<DTypeError>([&] { attention(q, cast(k, DType::f32), k); }),
              AllOf(HasSubstr("attention"), HasSubstr("cast()")));
  EXPECT_THAT(message_of<ShapeError>(refusal({.mask = random({2, 5}, 3)})),
              AllOf(HasSubstr("attention"), HasSubstr("(2, 5)"), HasSubstr("(2, 2, 3, 5)")));
  EXPECT_THAT(message_of<DTypeError>(refusal({.mask = full({5}, 0)})), HasSubstr("cast()"));
  EXPECT_THAT(message_of<AutogradError>(refusal({.mask = random({5}, 3).detach_requires_grad()})),
              AllOf(HasSubstr("mask"), HasSubstr("detach()")));
  EXPECT_THAT(message_of<DTypeError>(refusal({.key_padding = full({2, 5}, 1)})),
              AllOf(HasSubstr("key_padding"), HasSubstr("bool or u8")));
  EXPECT_THAT(message_of<ShapeError>(refusal({.key_padding = bits({1}, {1}, DType::u8)})),
              AllOf(HasSubstr("key_padding"), HasSubstr("(2, 5)")));
  EXPECT_THAT(message_of<ValueError>(refusal({.dropout = 1.0})), HasSubstr("[0, 1)"));
  EXPECT_THAT(message_of<ShapeError>([&] { attention_packed(q); }),
              AllOf(HasSubstr("attention_packed"), HasSubstr("(..., N, 3, H, D)")));
}

TEST(Attention, ResultsLieInMemoryAsTheirOperandsDo) {
  // (B, N, H, D) projections seen as (B, H, N, D): merging the heads again costs no copy.
  const Variable q = transpose(random({2, 5, 3, 4}, 1).detach_requires_grad(), 1, 2);
  const Variable y = attention(q, q.detach(), q.detach());
  EXPECT_TRUE(transpose(y, 1, 2).value().is_contiguous());
  const Variable dq = grad(y, {q}, {.grad_outputs = {y.detach()}})[0];
  EXPECT_TRUE(transpose(dq, 1, 2).value().is_contiguous());
}

TEST(Attention, AWriteIntoTheOutputIsFound) {
  const Variable q = random({1, 1, 2, 2}, 1).detach_requires_grad();
  const Variable y = attention(q, q, q);
  y.value().note_write("scribble");
  EXPECT_THAT(message_of<AutogradError>([&] { grad(sum(y), {q}); }),
              AllOf(HasSubstr("attention"), HasSubstr("scribble")));
}

/// Bytes that forward, backward and double backward hold at most, beyond their inputs.
std::size_t peak_of_second_order(std::int64_t n) {
  const Variable qkv = normal({1, n, 3, 1, 8}, {1, 2}, 0, 1, DType::f32).detach_requires_grad();
  const Allocator& cpu = allocator(Device::cpu());
  const std::size_t before = cpu.stats().live_bytes;
  std::size_t most = 0;
  const auto note = [&] { most = std::max(most, cpu.stats().live_bytes - before); };
  const Variable y = attention_packed(qkv, {.causal = true});
  note();
  const Variable first = grad(sum(y * y), {qkv}, {.create_graph = true})[0];
  note();
  const Variable second = grad(sum(first * first), {qkv})[0];
  note();
  return most;
}

TEST(Attention, MemoryIsLinearInTheLengthThroughTheSecondDerivative) {
  const std::size_t once = peak_of_second_order(512), twice = peak_of_second_order(1024);
  EXPECT_LT(static_cast<double>(twice), 2.1 * static_cast<double>(once));
  EXPECT_LT(twice, 1024 * 1024 * sizeof(float));  // less than one (N, N) matrix
}

}  // namespace

std::vector<FusedRow> attention_rows() {
  std::vector<FusedRow> all;
  for (const auto& rows :
       {masked_rows(), shape_rows(), strided_rows(), dropout_attention_rows(), packed_rows()})
    all.insert(all.end(), rows.begin(), rows.end());
  return all;
}

}  // namespace mettle::test
