// The table of operations. A row is an operation, its oracle in f64, and inputs; tests/autograd/
// ops_test.cpp holds what must be true of every row.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {

/// An f64 array with which oracles are written, one index at a time.
struct Grid {
  Shape shape;
  Vec values;  // row-major

  /// Broadcast as in NumPy: leading axes of the index beyond the rank are ignored, extents of 1
  /// repeat.
  double at(const Dims& index) const;
};

Grid make_grid(const Shape& shape, const std::function<double(const Dims&)>& element);
Grid grid_of(const Variable& x);
/// Calls f for every index of a shape in row-major order.
void for_each_index(const Shape& shape, const std::function<void(const Dims&)>& f);
/// `index` with one entry replaced, inserted or taken out.
Dims with(Dims index, int axis, std::int64_t value);
Dims inserted(Dims index, int axis, std::int64_t value);
Dims erased(Dims index, int axis);
/// The elements of x along one axis through `index`.
Vec line(const Grid& x, const Dims& index, int axis);

using Oracle = std::function<Grid(const std::vector<Grid>&)>;
using Shapes = std::vector<Shape>;

struct OpRow {
  std::string operation;  // its name in autograd/ops.h
  std::string variant;    // what the row is about, "" for the plain one
  Shapes shapes;          // of the inputs
  Shapes empty;           // the same without elements
  Shapes large;           // enough of them for several threads
  Function f;
  Oracle oracle;
  double low = 0.2, high = 1.2;  // range of the inputs, away from kinks and poles
  std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16};
  double roundings = 16;  // of the accumulation type, at the size of the largest result
};

inline std::ostream& operator<<(std::ostream& out, const OpRow& row) {
  return out << row.operation << " " << row.variant;
}

/// An operation outside of differentiation. Its results are exact, but for those made of functions
/// that are rounded differently from the oracle's.
struct SelectionRow {
  std::string operation, variant;
  Shapes shapes, empty, large;
  Function f;
  Oracle oracle;
  /// The inputs take these values in turn; NaN and infinity only in the floating dtypes.
  Vec pool = {0.5, -1, 2, 0, 0.5, NAN, 2, INFINITY, -1, -INFINITY};
  std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16,
                               DType::i64, DType::i32, DType::i8,   DType::u8};
  double units = 0;  // in the last place of f64, of the result or of 1
};

inline std::ostream& operator<<(std::ostream& out, const SelectionRow& row) {
  return out << row.operation << " " << row.variant;
}

std::vector<OpRow> elementwise_rows();
std::vector<OpRow> layout_rows();
std::vector<OpRow> indexing_rows();
std::vector<OpRow> reduction_rows();
std::vector<OpRow> loss_rows();
std::vector<OpRow> linalg_rows();
std::vector<SelectionRow> selection_rows();
std::vector<SelectionRow> creation_rows();

/// The rows of operations that can be differentiated.
std::vector<OpRow> all_rows();
/// The rows of those that cannot.
std::vector<SelectionRow> all_selection_rows();
/// The name of a row's test.
std::string row_name(const std::string& operation, const std::string& variant);

Variables inputs_of(const OpRow& row, const Shapes& shapes, DType dtype);
/// Elements from the row's pool in turn, every input from another place of it.
Variables inputs_of(const SelectionRow& row, const Shapes& shapes, DType dtype);
/// Cotangents of f's outputs; null for those that are not floating.
Variables cotangents_of(const Variables& ys);
/// The same elements with gaps between them and the axes in reversed order.
Variable strided(const Variable& x);
/// A linear operation has no second derivative; this function of its results has.
Function curved(const Function& f);

/// Indices below `limit` of a shape, in a fixed order that repeats some and may leave out others.
Variable index_pattern(const Shape& shape, std::int64_t limit);

}  // namespace mettle::test
