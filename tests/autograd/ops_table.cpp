// The arrays of the oracles.
#include "tests/autograd/ops_table.h"

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

Variable index_pattern(const Shape& shape, std::int64_t limit) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < numel(shape); ++i)
    values.push_back((i * i * 7 + i * 3 + 1) % std::max<std::int64_t>(limit, 1));
  return Variable(Tensor::from(values, shape).to(current_device()));
}

}  // namespace mettle::test
