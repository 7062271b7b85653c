// The arrays of the oracles.
#include "tests/autograd/ops_table.h"

#include <algorithm>

namespace mettle::test {

double Grid::at(const Dims& index) const {
  const int extra = index.rank() - shape.rank();
  std::int64_t at = 0;
  for (int axis = 0; axis < shape.rank(); ++axis)
    at = at * shape[axis] + (shape[axis] == 1 ? 0 : index[axis + extra]);
  return values[static_cast<std::size_t>(at)];
}

void for_each_index(const Shape& shape, const std::function<void(const Dims&)>& f) {
  const std::int64_t n = numel(shape);
  Dims index = Dims::filled(shape.rank(), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    f(index);
    for (int axis = shape.rank() - 1; axis >= 0 && ++index[axis] == shape[axis]; --axis)
      index[axis] = 0;
  }
}

Grid make_grid(const Shape& shape, const std::function<double(const Dims&)>& element) {
  Grid grid{shape, {}};
  for_each_index(shape, [&](const Dims& index) { grid.values.push_back(element(index)); });
  return grid;
}

Grid grid_of(const Variable& x) { return {x.shape(), x.value().to_vector<double>()}; }

Dims with(Dims index, int axis, std::int64_t value) {
  index[axis] = value;
  return index;
}
Dims inserted(Dims index, int axis, std::int64_t value) {
  index.insert(axis, value);
  return index;
}
Dims erased(Dims index, int axis) {
  index.erase(axis);
  return index;
}

Vec line(const Grid& x, const Dims& index, int axis) {
  Vec out;
  for (std::int64_t i = 0; i < x.shape[axis]; ++i) out.push_back(x.at(with(index, axis, i)));
  return out;
}

std::vector<OpRow> all_rows() {
  std::vector<OpRow> all;
  for (const auto& family : {elementwise_rows(), layout_rows(), indexing_rows(), reduction_rows(),
                             loss_rows(), linalg_rows()})
    all.insert(all.end(), family.begin(), family.end());
  return all;
}

std::string row_name(const std::string& operation, const std::string& variant) {
  std::string name = operation;
  if (name.starts_with("operator")) {
    const char symbols[] = {'+', '-', '*', '/'};
    const char* names[] = {"plus", "minus", "times", "over"};
    name = names[std::ranges::find(symbols, name.back()) - symbols];
  }
  return name + (variant.empty() ? "" : "_" + variant);
}

Variables inputs_of(const OpRow& row, const Shapes& shapes, DType dtype) {
  Variables inputs;
  for (const Shape& shape : shapes)
    inputs.push_back(
        cast(uniform(shape, {11, inputs.size()}, row.low, row.high, DType::f64), dtype));
  return inputs;
}

Variables cotangents_of(const Variables& ys) {
  Variables dys;
  for (const Variable& y : ys)
    dys.push_back(is_floating(y.dtype())
                      ? cast(normal(y.shape(), {12, dys.size()}, 0, 1, DType::f64), y.dtype())
                      : Variable());
  return dys;
}

Variable strided(const Variable& x) {
  if (x.rank() == 0) return x;
  std::vector<int> reversed;
  for (int axis = x.rank() - 1; axis >= 0; --axis) reversed.push_back(axis);
  const std::int64_t n = x.size(0);
  return permute(slice(pad(permute(x, reversed), -1, 2 * n, 0, 2), -1, 0, 2 * n, 2), reversed);
}

Function curved(const Function& f) {
  return [f](std::span<const Variable> x) {
    Variables ys = f(x);
    for (Variable& y : ys) y = add(y, mul(y, y));
    return ys;
  };
}

std::vector<SelectionRow> all_selection_rows() {
  std::vector<SelectionRow> all = selection_rows();
  for (SelectionRow& row : creation_rows()) all.push_back(std::move(row));
  return all;
}

Variables inputs_of(const SelectionRow& row, const Shapes& shapes, DType dtype) {
  Vec pool;
  for (const double value : row.pool) {
    const bool fits =
        is_floating(dtype) || (std::isfinite(value) && (value >= 0 || dtype != DType::u8));
    if (fits) pool.push_back(value);
  }
  Variables inputs;
  for (const Shape& shape : shapes) {
    std::size_t at = 3 * inputs.size();
    const Grid grid = make_grid(shape, [&](const Dims&) {
      at += 1 + at % 3;
      return pool[at % pool.size()];
    });
    inputs.push_back(cast(Variable(Tensor::from(grid.values, shape)), dtype));
  }
  return inputs;
}

Variable index_pattern(const Shape& shape, std::int64_t limit) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < numel(shape); ++i)
    values.push_back((i * i * 7 + i * 3 + 1) % std::max<std::int64_t>(limit, 1));
  return Variable(Tensor::from(values, shape).to(current_device()));
}

}  // namespace mettle::test
