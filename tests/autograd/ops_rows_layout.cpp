// Rows of the operations that move elements: layout, look-up, order.
#include <algorithm>
#include <numeric>

#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using Grids = std::vector<Grid>;

/// y(index) = x(source(index)).
Oracle moved(const std::function<Shape(const Shape&)>& shape,
             const std::function<Dims(const Dims&, const Shape&)>& source) {
  return [=](const Grids& x) {
    return make_grid(shape(x[0].shape),
                     [&](const Dims& at) { return x[0].at(source(at, x[0].shape)); });
  };
}

Oracle reshaped(const std::function<Shape(const Shape&)>& shape) {
  return [=](const Grids& x) { return Grid{shape(x[0].shape), x[0].values}; };
}

}  // namespace

std::vector<OpRow> layout_rows() {
  const auto same = [](const Shape& s) { return s; };
  return {
      {"to",
       "",
       {{2, 3}},
       {{0, 3}},
       {{150, 300}},
       [](In i) { return Variables{to(to(i[0], Device::cpu()), i[0].device())}; },
       reshaped(same)},
      {"cast",
       "",
       {{2, 3}},
       {{0, 3}},
       {{150, 300}},
       [](In i) { return Variables{cast(cast(i[0], DType::f64), i[0].dtype())}; },
       reshaped(same)},
      {"reshape",
       "",
       {{2, 3}},
       {{0, 3}},
       {{150, 300}},
       [](In i) {
         return Variables{reshape(i[0], {i[0].size(1), i[0].size(0)})};
       },
       reshaped([](const Shape& s) {
         return Shape{s[1], s[0]};
       })},
      {"reshape",
       "rest",
       {{2, 3}},
       {{0, 3}},
       {{150, 300}},
       [](In i) {
         return Variables{reshape(i[0], {3, -1})};
       },
       reshaped([](const Shape& s) {
         return Shape{3, numel(s) / 3};
       })},
      {"permute",
       "",
       {{2, 3, 4}},
       {{2, 0, 4}},
       {{20, 30, 50}},
       [](In i) {
         return Variables{permute(i[0], {2, 0, -2})};
       },
       moved(
           [](const Shape& s) {
             return Shape{s[2], s[0], s[1]};
           },
           [](const Dims& at, const Shape&) {
             return Dims{at[1], at[2], at[0]};
           })},
      {"transpose",
       "",
       {{2, 3, 4}},
       {{2, 0, 4}},
       {{20, 30, 50}},
       [](In i) { return Variables{contiguous(transpose(i[0], 0, -1))}; },
       moved(
           [](const Shape& s) {
             return Shape{s[2], s[1], s[0]};
           },
           [](const Dims& at, const Shape&) {
             return Dims{at[2], at[1], at[0]};
           })},
      {"expand",
       "",
       {{3, 1}},
       {{0, 1}},
       {{100, 1}},
       [](In i) {
         return Variables{expand(i[0], {2, i[0].size(0), 200})};
       },
       moved(
           [](const Shape& s) {
             return Shape{2, s[0], 200};
           },
           [](const Dims& at, const Shape&) {
             return Dims{at[1], 0};
           })},
      {"unsqueeze",
       "",
       {{2, 3}},
       {{0, 3}},
       {{150, 300}},
       [](In i) { return Variables{unsqueeze(i[0], -2)}; },
       reshaped([](const Shape& s) {
         return Shape{s[0], 1, s[1]};
       })},
      {"squeeze",
       "",
       {{2, 1, 3}},
       {{0, 1, 3}},
       {{150, 1, 300}},
       [](In i) { return Variables{squeeze(i[0], 1)}; },
       reshaped([](const Shape& s) {
         return Shape{s[0], s[2]};
       })},
      {"slice",
       "",
       {{6, 4}},
       {{6, 0}},
       {{301, 200}},
       [](In i) { return Variables{slice(i[0], 0, 1, -1, 2)}; },
       moved(
           [](const Shape& s) {
             return Shape{(s[0] - 1) / 2, s[1]};
           },
           [](const Dims& at, const Shape&) {
             return Dims{1 + 2 * at[0], at[1]};
           })},
      {"select",
       "",
       {{3, 4}},
       {{0, 4}},
       {{500, 100}},
       [](In i) { return Variables{select(i[0], 1, -2)}; },
       moved([](const Shape& s) { return Shape{s[0]}; },
             [](const Dims& at, const Shape& s) {
               return Dims{at[0], s[1] - 2};
             })},
      {"pad",
       "",
       {{2, 3}},
       {{2, 0}},
       {{150, 150}},
       [](In i) { return Variables{pad(i[0], 1, 3 * i[0].size(1) + 2, 1, 3)}; },
       [](const Grids& x) {
         return make_grid({x[0].shape[0], 3 * x[0].shape[1] + 2}, [&](const Dims& at) {
           const std::int64_t j = at[1] - 1;
           return j >= 0 && j % 3 == 0 && j / 3 < x[0].shape[1] ? x[0].at({at[0], j / 3}) : 0.0;
         });
       }},
      {"concat",
       "",
       {{2, 3}, {2, 1}},
       {{0, 3}, {0, 1}},
       {{200, 100}, {200, 50}},
       [](In i) { return Variables{concat(i, 1)}; },
       [](const Grids& x) {
         const std::int64_t first = x[0].shape[1];
         return make_grid({x[0].shape[0], first + x[1].shape[1]}, [&](const Dims& at) {
           return at[1] < first ? x[0].at(at) : x[1].at({at[0], at[1] - first});
         });
       }},
      {"stack",
       "",
       {{2, 3}, {2, 3}},
       {{0, 3}, {0, 3}},
       {{200, 100}, {200, 100}},
       [](In i) { return Variables{stack(i, 1)}; },
       [](const Grids& x) {
         return make_grid({x[0].shape[0], 2, x[0].shape[1]}, [&](const Dims& at) {
           return x[static_cast<std::size_t>(at[1])].at({at[0], at[2]});
         });
       }},
      {"flip",
       "",
       {{2, 3, 2}},
       {{2, 0, 2}},
       {{20, 100, 30}},
       [](In i) { return Variables{flip(i[0], 1)}; },
       moved(same, [](const Dims& at, const Shape& s) { return with(at, 1, s[1] - 1 - at[1]); })},
  };
}

namespace {

/// The index of gather and scatter_add rows: x's shape with n along axis 1.
Variable element_pattern(const Shape& shape, std::int64_t n, std::int64_t limit) {
  return index_pattern(with(shape, 1, n), limit);
}

OpRow gather_row(const char* variant, Shapes shapes, Shapes empty, Shapes large) {
  return {"gather",
          variant,
          std::move(shapes),
          std::move(empty),
          std::move(large),
          [](In i) {
            const Variable index = element_pattern(i[0].shape(), 4, i[0].size(1));
            return Variables{gather(i[0], 1, index)};
          },
          [](const Grids& x) {
            const Grid index = grid_of(element_pattern(x[0].shape, 4, x[0].shape[1]));
            return make_grid(index.shape, [&](const Dims& at) {
              return x[0].at(with(at, 1, static_cast<std::int64_t>(index.at(at))));
            });
          }};
}

OpRow scatter_add_row(const char* variant, Shapes shapes, Shapes empty, Shapes large) {
  return {"scatter_add",
          variant,
          std::move(shapes),
          std::move(empty),
          std::move(large),
          [](In i) {
            const Variable index = cast(index_pattern(i[0].shape(), 5), DType::i32);
            return Variables{scatter_add(i[0], 1, index, 5)};
          },
          [](const Grids& x) {
            const Grid index = grid_of(index_pattern(x[0].shape, 5));
            return make_grid(with(x[0].shape, 1, 5), [&](const Dims& at) {
              double sum = 0;
              for (std::int64_t i = 0; i < x[0].shape[1]; ++i)
                if (index.at(with(at, 1, i)) == static_cast<double>(at[1]))
                  sum += x[0].at(with(at, 1, i));
              return sum;
            });
          }};
}

OpRow index_select_row() {
  return {"index_select",
          "",
          {{2, 3, 2}},
          {{0, 3, 2}},
          {{50, 20, 60}},
          [](In i) { return Variables{index_select(i[0], -2, index_pattern({5}, 3))}; },
          [](const Grids& x) {
            const Grid ids = grid_of(index_pattern({5}, 3));
            return make_grid(with(x[0].shape, 1, 5), [&](const Dims& at) {
              return x[0].at(with(at, 1, static_cast<std::int64_t>(ids.at({at[1]}))));
            });
          }};
}

OpRow index_add_row() {
  return {"index_add",
          "",
          {{2, 5, 2}},
          {{0, 5, 2}},
          {{50, 20, 60}},
          [](In i) { return Variables{index_add(i[0], 1, index_pattern({i[0].size(1)}, 4), 4)}; },
          [](const Grids& x) {
            const Grid ids = grid_of(index_pattern({x[0].shape[1]}, 4));
            return make_grid(with(x[0].shape, 1, 4), [&](const Dims& at) {
              double sum = 0;
              for (std::int64_t i = 0; i < x[0].shape[1]; ++i)
                if (ids.at({i}) == static_cast<double>(at[1])) sum += x[0].at(with(at, 1, i));
              return sum;
            });
          }};
}

/// The first `keep` elements of each line in sorted order.
Oracle sorted_oracle(int axis, std::int64_t keep, bool ascending) {
  return [=](const Grids& x) {
    const std::int64_t n = keep < 0 ? x[0].shape[axis] : keep;
    return make_grid(with(x[0].shape, axis, n), [&](const Dims& at) {
      Vec values = line(x[0], at, axis);
      std::sort(values.begin(), values.end());
      if (!ascending) std::reverse(values.begin(), values.end());
      return values[static_cast<std::size_t>(at[axis])];
    });
  };
}

}  // namespace

std::vector<OpRow> indexing_rows() {
  return {
      gather_row("", {{2, 3, 2}}, {{0, 3, 2}}, {{50, 20, 60}}),
      gather_row("last_axis", {{3, 5}}, {{0, 5}}, {{500, 50}}),
      scatter_add_row("", {{2, 7, 2}}, {{2, 0, 2}}, {{50, 20, 60}}),
      scatter_add_row("last_axis", {{3, 7}}, {{3, 0}}, {{500, 50}}),
      index_select_row(),
      index_add_row(),
      {"sort",
       "",
       {{3, 5}},
       {{0, 5}},
       {{300, 60}},
       [](In i) { return Variables{sort(i[0], 0).values}; },
       sorted_oracle(0, -1, true)},
      {"sort",
       "descending",
       {{3, 5}},
       {{3, 0}},
       {{300, 60}},
       [](In i) { return Variables{sort(i[0], 1, Order::descending).values}; },
       sorted_oracle(1, -1, false)},
      {"topk",
       "",
       {{3, 5}},
       {{0, 5}},
       {{300, 60}},
       [](In i) { return Variables{topk(i[0], 2).values}; },
       sorted_oracle(1, 2, false)},
  };
}

}  // namespace mettle::test
