// Rows of what is outside of differentiation: comparisons, logic, positions, creation.
#include <algorithm>
#include <numbers>
#include <numeric>

#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using Grids = std::vector<Grid>;

const std::vector<DType> bools = {DType::boolean};
const std::vector<DType> floats = {DType::f64, DType::f32, DType::bf16, DType::f16};

SelectionRow comparison(std::string operation, Variable (*f)(const Variable&, const Variable&),
                        std::function<bool(double, double)> scalar) {
  return {std::move(operation),
          "",
          {{4, 1, 5}, {6, 1}},
          {{0, 1, 5}, {6, 1}},
          {{100, 1, 50}, {10, 1}},
          [f](In i) { return Variables{f(i[0], i[1])}; },
          [scalar](const Grids& x) {
            return make_grid(broadcast_shapes(x[0].shape, x[1].shape, "oracle"),
                             [&](const Dims& at) { return scalar(x[0].at(at), x[1].at(at)); });
          }};
}

SelectionRow logic(std::string operation, Variable (*f)(const Variable&, const Variable&),
                   std::function<bool(double, double)> scalar) {
  SelectionRow row = comparison(std::move(operation), f, std::move(scalar));
  row.pool = {1, 0, 0, 1, 1};
  row.dtypes = bools;
  return row;
}

SelectionRow each(std::string operation, Variable (*f)(const Variable&),
                  std::function<bool(double)> scalar) {
  return {std::move(operation),
          "",
          {{4, 5}},
          {{0, 5}},
          {{200, 300}},
          [f](In i) { return Variables{f(i[0])}; },
          [scalar](const Grids& x) {
            return make_grid(x[0].shape, [&](const Dims& at) { return scalar(x[0].at(at)); });
          }};
}

/// Positions along an axis, most wanted first: NaN last, ties by position.
std::vector<std::int64_t> sorted_positions(const Vec& v, bool ascending) {
  std::vector<std::int64_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double x = v[static_cast<std::size_t>(a)], y = v[static_cast<std::size_t>(b)];
    if (std::isnan(x) != std::isnan(y)) return std::isnan(y);
    if (x == y || std::isnan(x)) return a < b;
    return ascending ? x < y : x > y;
  });
  return order;
}

SelectionRow order(std::string operation, std::string variant, bool ascending, int axis,
                   std::int64_t keep, Function f) {
  return {std::move(operation),
          std::move(variant),
          {{4, 17}},
          axis == 1 ? Shapes{{0, 17}} : Shapes{{4, 0}},
          {{300, 60}},
          std::move(f),
          [=](const Grids& x) {
            const std::int64_t n = keep < 0 ? x[0].shape[axis] : keep;
            return make_grid(with(x[0].shape, axis, n), [&](const Dims& at) {
              const auto positions = sorted_positions(line(x[0], at, axis), ascending);
              return static_cast<double>(positions[static_cast<std::size_t>(at[axis])]);
            });
          }};
}

SelectionRow extreme(std::string operation, std::string variant, bool largest, bool keep,
                     Function f) {
  return {std::move(operation),
          std::move(variant),
          {{5, 7, 3}},
          {{0, 7, 3}},
          {{60, 50, 30}},
          std::move(f),
          [=](const Grids& x) {
            const Shape kept = with(x[0].shape, 1, 1);
            return make_grid(keep ? kept : erased(kept, 1), [&](const Dims& at) {
              const Vec v = line(x[0], keep ? at : inserted(at, 1, 0), 1);
              const auto nan = std::ranges::find_if(v, [](double d) { return std::isnan(d); });
              if (nan != v.end()) return static_cast<double>(nan - v.begin());
              const auto best = largest ? std::ranges::max_element(v) : std::ranges::min_element(v);
              return static_cast<double>(best - v.begin());
            });
          }};
}

SelectionRow quantifier(std::string operation, std::string variant, bool every, bool keep,
                        Function f) {
  return {
      std::move(operation),
      std::move(variant),
      {{5, 3, 2}},
      {{5, 0, 2}},
      {{60, 50, 30}},
      std::move(f),
      [=](const Grids& x) {
        const Shape kept = with(x[0].shape, 1, 1);
        return make_grid(keep ? kept : erased(kept, 1), [&](const Dims& at) {
          const Vec v = line(x[0], keep ? at : inserted(at, 1, 0), 1);
          const auto yes = std::count(v.begin(), v.end(), 1.0);
          return static_cast<double>(every ? yes == static_cast<std::int64_t>(v.size()) : yes > 0);
        });
      },
      {1, 0, 0, 1, 1, 1, 0},
      bools};
}

SelectionRow one_hot_row(DType dtype) {
  return {"one_hot",
          std::string(to_string(dtype)),
          {{2, 5}},
          {{2, 0}},
          {{300, 40}},
          [=](In i) { return Variables{one_hot(i[0], 4, dtype)}; },
          [](const Grids& x) {
            Shape shape = x[0].shape;
            shape.push_back(4);
            return make_grid(shape, [&](const Dims& at) {
              return x[0].at(erased(at, 2)) == static_cast<double>(at[2]) ? 1.0 : 0.0;
            });
          },
          {3, 0, 1, 1, 2},
          {DType::i64, DType::i32}};
}

}  // namespace

std::vector<SelectionRow> selection_rows() {
  std::vector<SelectionRow> rows = {
      comparison("equal", equal, std::equal_to()),
      comparison("not_equal", not_equal, std::not_equal_to()),
      comparison("less", less, std::less()),
      comparison("less_equal", less_equal, std::less_equal()),
      comparison("greater", greater, std::greater()),
      comparison("greater_equal", greater_equal, std::greater_equal()),
      logic("logical_and", logical_and, std::logical_and()),
      logic("logical_or", logical_or, std::logical_or()),
      each("logical_not", logical_not, [](double x) { return x == 0; }),
      each("isnan", mettle::isnan, [](double x) { return std::isnan(x); }),
      each("isfinite", mettle::isfinite, [](double x) { return std::isfinite(x); }),
      quantifier("any", "", false, false, [](In i) { return Variables{any(i[0], {1})}; }),
      quantifier("any", "kept", false, true, [](In i) { return Variables{any(i[0], {1}, true)}; }),
      quantifier("all", "", true, false, [](In i) { return Variables{all(i[0], {1})}; }),
      quantifier("all", "kept", true, true, [](In i) { return Variables{all(i[0], {1}, true)}; }),
      extreme("argmax", "", true, false, [](In i) { return Variables{argmax(i[0], 1)}; }),
      extreme("argmax", "kept", true, true, [](In i) { return Variables{argmax(i[0], -2, true)}; }),
      extreme("argmin", "", false, false, [](In i) { return Variables{argmin(i[0], 1)}; }),
      order("argsort", "", true, 1, -1, [](In i) { return Variables{argsort(i[0], -1)}; }),
      order("argsort", "descending", false, 0, -1,
            [](In i) { return Variables{argsort(i[0], 0, Order::descending)}; }),
      order("sort", "indices", true, 0, -1, [](In i) { return Variables{sort(i[0], 0).indices}; }),
      order("topk", "indices", false, 1, 5, [](In i) { return Variables{topk(i[0], 5).indices}; }),
      one_hot_row(DType::f32),
      one_hot_row(DType::i64),
  };
  for (SelectionRow& row : rows) {
    if (row.operation == "logical_not") {
      row.pool = {1, 0, 0};
      row.dtypes = bools;
    }
    if (row.operation == "equal" || row.operation == "not_equal")
      row.dtypes.push_back(DType::boolean);
  }
  return rows;
}

namespace {

/// The 53-bit numbers of [0, 1) that a key stands for: two of each Philox block.
double uniform_number(const PhiloxKey& key, std::int64_t i) {
  const PhiloxBlock b = key.block(static_cast<std::uint64_t>(i / 2));
  const std::uint64_t high = b.word[2 * (i % 2)], low = b.word[2 * (i % 2) + 1];
  return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
}

constexpr PhiloxKey key{77, 5};

/// A row without inputs: what f makes has these elements, counted row-major.
SelectionRow made(std::string operation, std::string variant, const Shape& shape,
                  const std::function<Variable(const Shape&)>& f,
                  std::function<double(std::int64_t)> element) {
  const auto empty = Shape{0};
  return {std::move(operation),
          std::move(variant),
          {shape},
          {empty},
          {{100000}},
          [f](In i) { return Variables{f(i[0].shape())}; },
          [element](const Grids& x) {
            std::int64_t i = 0;
            return make_grid(x[0].shape, [&](const Dims&) { return element(i++); });
          },
          {0},
          {DType::f64}};
}

SelectionRow rounded(double units, SelectionRow row) {
  row.units = units;
  return row;
}

}  // namespace

// The input of these rows is the shape of what is made.
std::vector<SelectionRow> creation_rows() {
  const auto scaled = [](std::int64_t i) { return -2 + 5 * uniform_number(key, i); };
  const auto gauss = [](std::int64_t i) {
    const double u = uniform_number(key, i / 2 * 2), v = uniform_number(key, i / 2 * 2 + 1);
    const double angle = 2 * std::numbers::pi * v;
    return 1 +
           2 * (std::sqrt(-2 * std::log1p(-u)) * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)));
  };
  const auto shuffled = [](std::int64_t i, std::int64_t n) {
    Vec keys;
    for (std::int64_t k = 0; k < n; ++k) keys.push_back(uniform_number(key, k));
    return static_cast<double>(sorted_positions(keys, true)[static_cast<std::size_t>(i)]);
  };
  const auto square_of = [](const Shape& s) { return eye(s[0], DType::f64, current_device()); };
  return {
      made(
          "full", "", {2, 3},
          [](const Shape& s) { return full(s, 1.5, DType::f64, current_device()); },
          [](std::int64_t) { return 1.5; }),
      made(
          "full_like", "", {2, 3},
          [](const Shape& s) { return full_like(full(s, 0, DType::f32, current_device()), -2.5); },
          [](std::int64_t) { return -2.5; }),
      made(
          "arange", "", {7}, [](const Shape& s) { return arange(s[0], current_device()); },
          [](std::int64_t i) { return static_cast<double>(i); }),
      made(
          "uniform", "", {3, 5},
          [](const Shape& s) { return uniform(s, key, -2, 3, DType::f64, current_device()); },
          scaled),
      // Its logarithm, sine and cosine are series of its own: the same bits on every device.
      rounded(4,
              made(
                  "normal", "", {3, 5},
                  [](const Shape& s) { return normal(s, key, 1, 2, DType::f64, current_device()); },
                  gauss)),
      made(
          "randint", "", {3, 5},
          [](const Shape& s) { return randint(s, key, -3, 9, current_device()); },
          [](std::int64_t i) { return std::floor(12 * uniform_number(key, i)) - 3; }),
      {"permutation",
       "",
       {{9}},
       {{0}},
       {{300}},
       [](In i) { return Variables{permutation(i[0].size(0), key, current_device())}; },
       [=](const Grids& x) {
         return make_grid(x[0].shape,
                          [&](const Dims& at) { return shuffled(at[0], x[0].shape[0]); });
       },
       {0},
       {DType::f64}},
      {"eye",
       "",
       {{4}},
       {{0}},
       {{200}},
       [=](In i) { return Variables{square_of(i[0].shape())}; },
       [](const Grids& x) {
         const std::int64_t n = x[0].shape[0];
         return make_grid({n, n}, [](const Dims& at) { return at[0] == at[1] ? 1.0 : 0.0; });
       },
       {0},
       {DType::f64}},
  };
}

}  // namespace mettle::test
