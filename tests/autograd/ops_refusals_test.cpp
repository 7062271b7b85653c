// What each operation refuses: the error names the operation, what does not fit, and what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/autograd/message_of.h"
#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using testing::HasSubstr;

struct Refusal {
  std::string name;
  std::function<std::string()> message;
  std::vector<std::string> parts;
};

template <class E, class F>
Refusal refusal(std::string name, const F& call, std::vector<std::string> parts) {
  return {std::move(name), [call] { return message_of<E>(call); }, std::move(parts)};
}

using V = const Variable&;
using Two = std::function<Variable(V, V)>;
using One = std::function<Variable(V)>;

const std::vector<std::pair<std::string, Two>> broadcasting = {
    {"add", [](V a, V b) { return add(a, b); }},
    {"sub", [](V a, V b) { return sub(a, b); }},
    {"mul", [](V a, V b) { return mul(a, b); }},
    {"div", [](V a, V b) { return div(a, b); }},
    {"maximum", maximum},
    {"minimum", minimum},
    {"tanh_backward", tanh_backward},
    {"sigmoid_backward", sigmoid_backward},
    {"addcmul", [](V a, V b) { return addcmul(a, b, b); }},
    {"equal", equal},
    {"not_equal", not_equal},
    {"less", less},
    {"less_equal", less_equal},
    {"greater", greater},
    {"greater_equal", greater_equal},
    {"where", [](V a, V b) { return where(full({}, 1, DType::boolean), a, b); }},
    {"cosine_similarity", [](V a, V b) { return cosine_similarity(a, b); }},
};

const std::vector<std::pair<std::string, One>> floating = {
    {"exp", mettle::exp},
    {"log", mettle::log},
    {"log1p", mettle::log1p},
    {"sqrt", mettle::sqrt},
    {"rsqrt", rsqrt},
    {"reciprocal", reciprocal},
    {"sin", mettle::sin},
    {"cos", mettle::cos},
    {"tanh", mettle::tanh},
    {"sigmoid", sigmoid},
    {"erf", mettle::erf},
    {"relu", relu},
    {"pow", [](V x) { return mettle::pow(x, 2.0); }},
    {"softplus", softplus},
    {"silu", silu},
    {"clamp", [](V x) { return clamp(x, 0, 1); }},
    {"mean", [](V x) { return mean(x); }},
    {"var", [](V x) { return var(x); }},
    {"norm", [](V x) { return norm(x); }},
    {"softmax", [](V x) { return softmax(x, 0); }},
    {"log_softmax", [](V x) { return log_softmax(x, 0); }},
    {"logsumexp", [](V x) { return logsumexp(x, 0); }},
    {"matmul", [](V x) { return matmul(x, transpose(x, 0, 1)); }},
    {"linear", [](V x) { return linear(x, transpose(x, 0, 1)); }},
    {"mse_loss", [](V x) { return mse_loss(x, x); }},
    {"huber_loss", [](V x) { return huber_loss(x, x); }},
    {"cholesky", [](V x) { return cholesky(matmul(x, x)); }},
};

const std::vector<std::pair<std::string, One>> arithmetic = {
    {"affine", [](V x) { return affine(x, 2, 1); }},
    {"abs", mettle::abs},
    {"sign", sign},
    {"add", [](V x) { return add(x, x); }},
    {"maximum", [](V x) { return maximum(x, x); }},
    {"sum", [](V x) { return sum(x); }},
    {"sum_to", [](V x) { return sum_to(x, {}); }},
    {"max", [](V x) { return max(x, 0); }},
    {"min", [](V x) { return min(x, 0); }},
    {"cumsum", [](V x) { return cumsum(x, 0); }},
};

const std::vector<std::pair<std::string, One>> logical = {
    {"logical_not", logical_not},
    {"logical_and", [](V x) { return logical_and(x, x); }},
    {"logical_or", [](V x) { return logical_or(x, x); }},
    {"any", [](V x) { return any(x); }},
    {"all", [](V x) { return all(x); }},
};

const std::vector<std::pair<std::string, std::function<Variable(V, int)>>> along_axes = {
    {"sum", [](V x, int a) { return sum(x, {a}); }},
    {"max", [](V x, int a) { return max(x, a); }},
    {"min", [](V x, int a) { return min(x, a); }},
    {"var", [](V x, int a) { return var(x, {a}); }},
    {"norm", [](V x, int a) { return norm(x, {a}); }},
    {"cumsum", cumsum},
    {"flip", flip},
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"logsumexp", [](V x, int a) { return logsumexp(x, a); }},
    {"cosine_similarity", [](V x, int a) { return cosine_similarity(x, x, a); }},
    {"gather",
     [](V x, int a) {
       return gather(x, a, index_pattern({2, 3}, 2));
     }},
    {"scatter_add",
     [](V x, int a) {
       return scatter_add(x, a, index_pattern({2, 3}, 2), 2);
     }},
    {"index_select", [](V x, int a) { return index_select(x, a, index_pattern({2}, 2)); }},
    {"index_add", [](V x, int a) { return index_add(x, a, index_pattern({2}, 2), 2); }},
    {"argmax", [](V x, int a) { return argmax(x, a); }},
    {"argmin", [](V x, int a) { return argmin(x, a); }},
    {"argsort", [](V x, int a) { return argsort(x, a); }},
    {"sort", [](V x, int a) { return sort(x, a).values; }},
    {"topk", [](V x, int a) { return topk(x, 1, a).values; }},
    {"slice", [](V x, int a) { return slice(x, a, 0, 1); }},
    {"select", [](V x, int a) { return select(x, a, 0); }},
    {"pad", [](V x, int a) { return pad(x, a, 9, 0); }},
    {"concat", [](V x, int a) { return concat(std::span(&x, 1), a); }},
    {"squeeze", squeeze},
    {"unsqueeze", [](V x, int a) { return unsqueeze(x, a < 0 ? a : a + 1); }},
    {"transpose", [](V x, int a) { return transpose(x, 0, a); }},
};

void families(std::vector<Refusal>& rows) {
  const Variable a = full({2, 3}, 1.0), b = full({2, 4}, 1.0), wide = full({2, 3}, 1.0, DType::f64);
  const Variable whole = full({2, 3}, 1.0, DType::i64), small = full({2, 3}, 1.0, DType::u8);
  for (const auto& [name, f] : broadcasting) {
    rows.push_back(refusal<ShapeError>(name + "_shapes", [=] { f(a, b); },
                                       {name + ": ", "(2, 3)", "(2, 4)", "do not broadcast"}));
    rows.push_back(refusal<DTypeError>(name + "_dtypes", [=] { f(a, wide); },
                                       {name + ": ", "f32 (2, 3)", "f64 (2, 3)", "cast()"}));
  }
  for (const auto& [name, f] : floating)
    rows.push_back(
        refusal<DTypeError>(name + "_integers", [=] { f(whole); }, {"takes", "i64", "cast()"}));
  for (const auto& [name, f] : arithmetic)
    rows.push_back(
        refusal<DTypeError>(name + "_u8", [=] { f(small); }, {name + ": ", "u8 (2, 3)", "cast()"}));
  for (const auto& [name, f] : logical)
    rows.push_back(refusal<DTypeError>(name + "_numbers", [=] { f(whole); },
                                       {name + ": ", "i64 (2, 3)", "not_equal()"}));
  for (const auto& [name, f] : along_axes)
    for (const int axis : {2, -4})
      rows.push_back(refusal<ShapeError>(name + "_axis_" + (axis < 0 ? "below" : "above"),
                                         [=] { f(a, axis); }, {name + ": axis ", "rank"}));
}

void single(std::vector<Refusal>& rows) {
  const Variable a = full({2, 3}, 1.0), none = full({2, 0}, 1.0);
  const Variable ids = index_pattern({2, 3}, 9);
  const auto shape = [&](std::string name, const auto& call, std::vector<std::string> parts) {
    rows.push_back(refusal<ShapeError>(std::move(name), call, std::move(parts)));
  };
  const auto value = [&](std::string name, const auto& call, std::vector<std::string> parts) {
    rows.push_back(refusal<ValueError>(std::move(name), call, std::move(parts)));
  };
  const auto dtype = [&](std::string name, const auto& call, std::vector<std::string> parts) {
    rows.push_back(refusal<DTypeError>(std::move(name), call, std::move(parts)));
  };
  shape("matmul_inner", [=] { matmul(a, a); }, {"matmul: (2, 3) x (2, 3)", "3 and 2 differ"});
  shape("matmul_rank", [=] { matmul(full({3}, 1), a); }, {"matmul", "unsqueeze()"});
  const Variable tasks = full({2, 4, 3}, 1.0);
  shape("linear_inner", [=] { linear(a, a); },
        {"linear: weight of shape (2, 3)", "x of shape (2, 3)", "(in, out)"});
  shape("linear_tasks",
        [=] {
          linear(tasks, full({3, 3, 5}, 1));
        },
        {"linear: weight of shape (3, 3, 5)", "(2, 4, 3)", "(T, in, out)"});
  shape("linear_bias",
        [=] {
          linear(tasks, full({3, 5}, 1), full({4}, 1));
        },
        {"linear: bias of shape (4,)", "(3, 5)", "(2, 4, 3)", "(T, out)"});
  shape("linear_task_biases",
        [=] {
          linear(tasks, full({3, 5}, 1), full({3, 5}, 1));
        },
        {"linear: bias of shape (3, 5)", "one row for each index"});
  dtype("linear_dtypes",
        [=] {
          linear(a, full({3, 5}, 1), full({5}, 1, DType::f64));
        },
        {"linear", "f32", "f64", "cast()"});
  shape("reshape", [=] { reshape(a, {4, -1}); }, {"reshape: 6 elements", "(4, -1)"});
  shape("reshape_count", [=] { reshape(a, {7}); }, {"reshape: (2, 3)", "(7,)"});
  shape("reshape_two_unknown", [=] { reshape(a, {-1, -1}); }, {"reshape", "one extent of -1"});
  shape("expand", [=] { expand(a, {2, 4}); }, {"expand", "(2, 3)", "(2, 4)"});
  shape("sum_to", [=] { sum_to(a, {2, 2}); }, {"sum_to", "(2, 2)", "(2, 3)"});
  shape("permute_count", [=] { permute(a, {0}); }, {"permute: 1 axes", "(2, 3)"});
  shape("permute_twice", [=] { permute(a, {1, 1}); }, {"permute: axis 1 is given twice"});
  shape("slice_range", [=] { slice(a, 1, 2, 5); }, {"slice: 2:5:1", "axis 1", "(2, 3)"});
  shape("select_index", [=] { select(a, 1, 3); }, {"select: index 3", "axis 1", "(2, 3)"});
  shape("pad_room", [=] { pad(a, 1, 3, 1); }, {"pad: 3 elements from 1", "extent 3"});
  shape("squeeze_wide", [=] { squeeze(a, 1); }, {"squeeze: axis 1 of (2, 3)"});
  shape("concat_nothing", [] { concat({}, 0); }, {"concat: needs at least one part"});
  shape("stack_nothing", [] { stack({}, 0); }, {"stack: needs at least one part"});
  shape("concat_shapes",
        [=] {
          const Variable parts[] = {a, full({3, 4}, 1)};
          concat(parts, 0);
        },
        {"concat: (2, 3) and (3, 4)", "axis 0"});
  for (const auto& [name, f] :
       std::vector<std::pair<std::string, One>>{{"max", [](V x) { return max(x, 1); }},
                                                {"min", [](V x) { return min(x, 1); }},
                                                {"argmax", [](V x) { return argmax(x, 1); }},
                                                {"argmin", [](V x) { return argmin(x, 1); }}})
    shape(name + "_of_nothing", [=] { f(none); }, {name + ": axis 1 of (2, 0) is empty"});
  shape("topk_many", [=] { topk(a, 4); }, {"topk: 4 elements", "axis 1", "(2, 3)"});
  shape("gather_shape",
        [=] {
          gather(a, 1, index_pattern({3, 3}, 2));
        },
        {"gather: the index (3, 3)", "(2, 3)", "axis 1", "expand()"});
  shape("scatter_add_shape",
        [=] {
          scatter_add(a, 1, index_pattern({2, 2}, 2), 3);
        },
        {"scatter_add: the index (2, 2)", "(2, 3)", "expand()"});
  shape("scatter_add_extent", [=] { scatter_add(a, 1, ids, -1); }, {"scatter_add", "-1"});
  shape("index_select_rank", [=] { index_select(a, 1, ids); },
        {"index_select: the indices (2, 3)", "gather()"});
  shape("index_add_count", [=] { index_add(a, 1, index_pattern({2}, 2), 4); },
        {"index_add: 2 indices for 3 slices"});
  value("gather_index", [=] { gather(a, 1, ids + 1.0); },
        {"gather: index ", "position ", "3 elements"});
  value("scatter_add_index", [=] { scatter_add(a, 1, ids * -1.0, 3); }, {"scatter_add: index -"});
  value("index_select_index", [=] { index_select(a, 0, arange(3)); }, {"index_select: index 2"});
  value("index_add_index", [=] { index_add(a, 1, arange(3), 2); }, {"index_add: index 2"});
  value("one_hot_index", [=] { one_hot(arange(3), 2); }, {"one_hot: index 2"});
  shape("one_hot_classes", [=] { one_hot(arange(3), -2); }, {"one_hot", "-2"});
  for (const auto& [name, f] : std::vector<std::pair<std::string, One>>{
           {"gather", [=](V i) { return gather(a, 1, i); }},
           {"scatter_add", [=](V i) { return scatter_add(a, 1, i, 3); }},
           {"index_select", [=](V i) { return index_select(a, 1, select(i, 0, 0)); }},
           {"index_add", [=](V i) { return index_add(a, 1, select(i, 0, 0), 3); }},
           {"one_hot", [](V i) { return one_hot(i, 3); }}})
    dtype(name + "_float_index", [=] { f(a); }, {name + ": indices are i64 or i32", "cast()"});
  dtype("where_condition", [=] { where(a, a, a); }, {"where: the condition must be bool", "f32"});
  value("clamp_order", [=] { clamp(a, 1, 0); }, {"clamp: low 1 is above high 0"});
  value("var_correction", [=] { var(a, {0}, false, 2.0); }, {"var: 2 elements", "correction of 2"});
  shape("mse_loss_shapes",
        [=] {
          mse_loss(a, full({2, 1}, 1));
        },
        {"mse_loss: prediction (2, 3) and target (2, 1)", "reshape()"});
  value("huber_loss_delta", [=] { huber_loss(a, a, 0.0); }, {"huber_loss: delta 0"});
  value("uniform_order", [] { uniform({2}, {}, 1, 0); }, {"uniform: low 1"});
  value("normal_deviation", [] { normal({2}, {}, 0, -1); }, {"normal: the deviation -1"});
  value("randint_order", [] { randint({2}, {}, 3, 3); }, {"randint", "[3, 3)"});
  shape("arange_negative", [] { arange(-1); }, {"arange: -1"});
  shape("permutation_negative", [] { permutation(-1, {}); }, {"permutation: -1"});
  shape("full_negative", [] { full({2, -1}, 0); }, {"(2, -1)", "negative"});
  value("integer_division", [] { div(arange(2), arange(2)); }, {"div: integer division by zero"});
}

std::vector<Refusal> refusals() {
  std::vector<Refusal> rows;
  families(rows);
  single(rows);
  return rows;
}

class Refuses : public testing::TestWithParam<Refusal> {};

TEST_P(Refuses, WithTheOperationTheValuesAndTheRemedy) {
  const std::string message = GetParam().message();
  for (const std::string& part : GetParam().parts) EXPECT_THAT(message, HasSubstr(part));
}

std::string refusal_name(const testing::TestParamInfo<Refusal>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, Refuses, testing::ValuesIn(refusals()), refusal_name);

}  // namespace
}  // namespace mettle::test
