// Rows of the operations that sum: reductions, statistics, softmax, losses, matrices.
#include <algorithm>
#include <numeric>

#include "tests/autograd/ops_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using Grids = std::vector<Grid>;

double total(const Vec& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double average(const Vec& v) { return total(v) / static_cast<double>(v.size()); }
double variance(const Vec& v, double correction) {
  double sum = 0;
  for (const double x : v) sum += (x - average(v)) * (x - average(v));
  return sum / (static_cast<double>(v.size()) - correction);
}
double length(const Vec& v) {
  return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
}
double log_sum(const Vec& v) {
  double sum = 0;
  for (const double x : v) sum += std::exp(x);
  return std::log(sum);
}

/// One number for each line along an axis, which disappears or is kept as 1.
Oracle of_lines(int axis, std::function<double(const Vec&)> f, bool keep = false) {
  return [=](const Grids& x) {
    const Shape kept = with(x[0].shape, axis, 1);
    return make_grid(keep ? kept : erased(kept, axis), [&](const Dims& at) {
      return f(line(x[0], keep ? at : inserted(at, axis, 0), axis));
    });
  };
}

/// One number for everything.
Oracle of_all(const std::function<double(const Vec&)>& f) {
  return [=](const Grids& x) { return Grid{{}, {f(x[0].values)}}; };
}

/// One number for axes 0 and 2 of rank 3.
Oracle of_outer_axes(std::function<double(const Vec&)> f, bool keep) {
  return [=](const Grids& x) {
    const Shape& s = x[0].shape;
    return make_grid(keep ? Shape{1, s[1], 1} : Shape{s[1]}, [&](const Dims& at) {
      Vec values;
      for (std::int64_t i = 0; i < s[0]; ++i)
        for (std::int64_t j = 0; j < s[2]; ++j) values.push_back(x[0].at({i, at[keep ? 1 : 0], j}));
      return f(values);
    });
  };
}

/// Element by element, with its line.
Oracle in_lines(int axis, std::function<double(double, const Vec&)> f) {
  return [=](const Grids& x) {
    return make_grid(x[0].shape,
                     [&](const Dims& at) { return f(x[0].at(at), line(x[0], at, axis)); });
  };
}

}  // namespace

std::vector<OpRow> reduction_rows() {
  const Shapes cube{{2, 3, 4}}, flat{{3, 5}}, no_cube{{2, 3, 0}}, no_flat{{0, 5}};
  const Shapes big_cube{{40, 30, 50}}, big_flat{{300, 200}};
  const auto largest = [](const Vec& v) { return *std::max_element(v.begin(), v.end()); };
  const auto smallest = [](const Vec& v) { return *std::min_element(v.begin(), v.end()); };
  return {
      {"sum", "", cube, no_cube, big_cube,
       [](In i) {
         return Variables{sum(i[0], {0, -1})};
       },
       of_outer_axes(total, false)},
      {"sum", "kept", cube, no_cube, big_cube,
       [](In i) {
         return Variables{sum(i[0], {2, 0}, true)};
       },
       of_outer_axes(total, true)},
      {"sum", "all", cube, no_cube, big_cube, [](In i) { return Variables{sum(i[0])}; },
       of_all(total)},
      {"mean", "", cube, no_cube, big_cube,
       [](In i) {
         return Variables{mean(i[0], {0, 2})};
       },
       of_outer_axes(average, false)},
      {"mean", "all", cube, no_cube, big_cube, [](In i) { return Variables{mean(i[0])}; },
       of_all(average)},
      {"sum_to",
       "",
       {{2, 3, 4}},
       {{2, 0, 4}},
       {{40, 30, 50}},
       [](In i) {
         return Variables{sum_to(i[0], {i[0].size(1), 1})};
       },
       [](const Grids& x) {
         Grid y = of_outer_axes(total, false)(x);
         y.shape.push_back(1);
         return y;
       }},
      {"cumsum", "", cube, no_cube, big_cube, [](In i) { return Variables{cumsum(i[0], 1)}; },
       [](const Grids& x) {
         return make_grid(x[0].shape, [&](const Dims& at) {
           double sum = 0;
           for (std::int64_t k = 0; k <= at[1]; ++k) sum += x[0].at(with(at, 1, k));
           return sum;
         });
       }},
      {"max", "", flat, no_flat, big_flat, [](In i) { return Variables{max(i[0], 1)}; },
       of_lines(1, largest)},
      {"max",
       "kept",
       flat,
       {{3, 0}},
       big_flat,
       [](In i) { return Variables{max(i[0], 0, true)}; },
       of_lines(0, largest, true)},
      {"min", "", flat, no_flat, big_flat, [](In i) { return Variables{min(i[0], 1)}; },
       of_lines(1, smallest)},
      {"min",
       "kept",
       flat,
       {{3, 0}},
       big_flat,
       [](In i) { return Variables{min(i[0], 0, true)}; },
       of_lines(0, smallest, true)},
      {"var", "", cube, no_cube, big_cube,
       [](In i) {
         return Variables{var(i[0], {0, 2})};
       },
       of_outer_axes([](const Vec& v) { return variance(v, 0); }, false)},
      {"var", "corrected", cube, no_cube, big_cube,
       [](In i) {
         return Variables{var(i[0], {0, 2}, true, 1.0)};
       },
       of_outer_axes([](const Vec& v) { return variance(v, 1); }, true)},
      {"norm", "", cube, no_cube, big_cube,
       [](In i) {
         return Variables{norm(i[0], {0, 2})};
       },
       of_outer_axes(length, false)},
      {"norm", "kept", cube, no_cube, big_cube,
       [](In i) {
         return Variables{norm(i[0], {0, 2}, true)};
       },
       of_outer_axes(length, true)},
      {"logsumexp", "", flat, no_flat, big_flat, [](In i) { return Variables{logsumexp(i[0], 1)}; },
       of_lines(1, log_sum), -3, 3},
      {"logsumexp",
       "kept",
       flat,
       {{3, 0}},
       big_flat,
       [](In i) { return Variables{logsumexp(i[0], 0, true)}; },
       of_lines(0, log_sum, true),
       -3,
       3},
      {"softmax", "", flat, no_flat, big_flat, [](In i) { return Variables{softmax(i[0], 0)}; },
       in_lines(0, [](double x, const Vec& v) { return std::exp(x - log_sum(v)); }), -3, 3},
      {"log_softmax", "", flat, no_flat, big_flat,
       [](In i) { return Variables{log_softmax(i[0], -1)}; },
       in_lines(1, [](double x, const Vec& v) { return x - log_sum(v); }), -3, 3},
      {"cosine_similarity",
       "",
       {{2, 1, 4}, {3, 4}},
       {{0, 1, 4}, {3, 4}},
       {{100, 1, 30}, {20, 30}},
       [](In i) { return Variables{cosine_similarity(i[0], i[1])}; },
       [](const Grids& x) {
         const Shape s = broadcast_shapes(x[0].shape, x[1].shape, "oracle");
         return make_grid(erased(s, 2), [&](const Dims& at) {
           Vec a, b;
           for (std::int64_t k = 0; k < s[2]; ++k) {
             a.push_back(x[0].at(inserted(at, 2, k)));
             b.push_back(x[1].at(inserted(at, 2, k)));
           }
           return std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / length(a) / length(b);
         });
       },
       -1,
       1},
  };
}

namespace {

/// The three reductions of a loss of single elements.
void loss(std::vector<OpRow>& rows, const std::string& operation,
          const std::function<Variable(const Variable&, const Variable&, Reduction)>& f,
          const std::function<double(double)>& of_difference) {
  const auto each = [of_difference](const Grids& x) {
    return make_grid(x[0].shape,
                     [&](const Dims& at) { return of_difference(x[0].at(at) - x[1].at(at)); });
  };
  const auto row = [&](const char* variant, Reduction reduction, Oracle oracle) {
    rows.push_back({operation,
                    variant,
                    {{2, 3}, {2, 3}},
                    {{0, 3}, {0, 3}},
                    {{150, 300}, {150, 300}},
                    [=](In i) { return Variables{f(i[0], i[1], reduction)}; },
                    std::move(oracle),
                    -2,
                    2});
  };
  row("each", Reduction::none, each);
  row("sum", Reduction::sum, [=](const Grids& x) { return of_all(total)({each(x)}); });
  row("mean", Reduction::mean, [=](const Grids& x) { return of_all(average)({each(x)}); });
}

}  // namespace

std::vector<OpRow> loss_rows() {
  std::vector<OpRow> rows;
  loss(rows, "mse_loss", mse_loss, [](double d) { return d * d; });
  loss(
      rows, "huber_loss",
      [](const Variable& p, const Variable& t, Reduction r) { return huber_loss(p, t, 0.7, r); },
      [](double d) { return std::abs(d) <= 0.7 ? d * d / 2 : 0.7 * (std::abs(d) - 0.35); });
  return rows;
}

namespace {

/// (..., m, k) x (..., k, n) with broadcasting.
Grid product(const Grid& a, const Grid& b) {
  const auto lead = [](const Shape& s) { return Shape(s.span().first(s.size() - 2)); };
  Shape shape = broadcast_shapes(lead(a.shape), lead(b.shape), "oracle");
  shape.push_back(a.shape.at(-2));
  shape.push_back(b.shape.at(-1));
  const int row = shape.rank() - 2, column = shape.rank() - 1;
  return make_grid(shape, [&](const Dims& at) {
    double sum = 0;
    for (std::int64_t k = 0; k < a.shape.at(-1); ++k)
      sum += a.at(with(at, column, k)) * b.at(with(at, row, k));
    return sum;
  });
}

OpRow matmul_row(const char* variant, Shapes shapes, Shapes empty, Shapes large) {
  return {"matmul",
          variant,
          std::move(shapes),
          std::move(empty),
          std::move(large),
          [](In i) { return Variables{matmul(i[0], i[1])}; },
          [](const Grids& x) { return product(x[0], x[1]); }};
}

/// x W + b, in which W and b may have a first axis of tasks.
Grid layer(const std::vector<Grid>& in) {
  const Grid &x = in[0], &weight = in[1];
  const int column = x.shape.rank() - 1;
  const auto of_task = [](const Grid& w, int rank, const Dims& at, const Dims& place) {
    return w.at(w.shape.rank() > rank ? inserted(place, 0, at[0]) : place);
  };
  return make_grid(with(x.shape, column, weight.shape.at(-1)), [&](const Dims& at) {
    double sum = in.size() > 2 ? of_task(in[2], 1, at, {at[column]}) : 0.0;
    for (std::int64_t k = 0; k < x.shape[column]; ++k)
      sum += x.at(with(at, column, k)) * of_task(weight, 2, at, {k, at[column]});
    return sum;
  });
}

OpRow linear_row(const char* variant, Shapes shapes, Shapes empty, Shapes large) {
  return {"linear",
          variant,
          std::move(shapes),
          std::move(empty),
          std::move(large),
          [](In i) { return Variables{linear(i[0], i[1], i.size() > 2 ? i[2] : Variable())}; },
          layer};
}

Oracle triangle_of(std::int64_t diagonal, bool lower) {
  return [=](const Grids& x) {
    return make_grid(x[0].shape, [&](const Dims& at) {
      const std::int64_t distance = at.at(-1) - at.at(-2) - diagonal;
      return (lower ? distance <= 0 : distance >= 0) ? x[0].at(at) : 0.0;
    });
  };
}

/// The Cholesky factor, by columns of the remaining matrix, of a + a^T for matrices (..., n, n).
Grid factor(const Grid& a) {
  const std::int64_t n = a.shape.at(-1);
  const int row = a.shape.rank() - 2, column = row + 1;
  Grid rest = make_grid(a.shape, [&](const Dims& at) {
    Dims mirrored = at;
    std::swap(mirrored[row], mirrored[column]);
    return (a.at(at) + a.at(mirrored)) / 2;
  });
  const std::size_t count = rest.values.size();
  const auto size = static_cast<std::size_t>(n * n), width = static_cast<std::size_t>(n);
  for (std::size_t m = 0; m < count; m += size) {
    double* l = rest.values.data() + m;
    for (std::size_t k = 0; k < width; ++k) {
      const double root = std::sqrt(l[k * width + k]);
      for (std::size_t i = 0; i < width; ++i)
        l[i * width + k] = i < k ? 0 : l[i * width + k] / root;
      for (std::size_t i = k + 1; i < width; ++i)
        for (std::size_t j = k + 1; j < width; ++j)
          l[i * width + j] -= l[i * width + k] * (j <= i ? l[j * width + k] : 0);
    }
  }
  return rest;
}

/// t^-1 b for the lower triangle of t, in f64.
Grid substitute(const Grid& t, const Grid& b) {
  Grid x = product(t, b);  // for its shape
  const int row = x.shape.rank() - 2, column = row + 1;
  const std::int64_t n = t.shape.at(-1);
  const auto position = [&](const Dims& at) {
    std::int64_t p = 0;
    for (int axis = 0; axis < x.shape.rank(); ++axis) p = p * x.shape[axis] + at[axis];
    return static_cast<std::size_t>(p);
  };
  for_each_index(with(x.shape, row, 1), [&](const Dims& start) {
    for (std::int64_t i = 0; i < n; ++i) {
      const Dims at = with(start, row, i);
      double sum = b.at(at);
      for (std::int64_t k = 0; k < i; ++k)
        sum -= t.at(with(at, column, k)) * x.values[position(with(at, row, k))];
      x.values[position(at)] = sum / t.at(with(at, column, i));
    }
  });
  return x;
}

/// Shifts the diagonals so that the matrices are well-conditioned.
Variable steady(const Variable& x) { return x + eye(x.size(-1), x.dtype(), x.device()) * 4.0; }
Grid steady(const Grid& x) {
  return make_grid(x.shape,
                   [&](const Dims& at) { return x.at(at) + (at.at(-1) == at.at(-2) ? 4.0 : 0.0); });
}
/// As if all of x were turned: rows and columns in reversed order.
Grid reversed(const Grid& x, bool columns_too) {
  const int row = x.shape.rank() - 2;
  return make_grid(x.shape, [&](const Dims& at) {
    Dims from = with(at, row, x.shape[row] - 1 - at[row]);
    if (columns_too) from[row + 1] = x.shape[row + 1] - 1 - at[row + 1];
    return x.at(from);
  });
}
Grid turned(const Grid& x) {
  const int row = x.shape.rank() - 2;
  Shape shape = x.shape;
  std::swap(shape[row], shape[row + 1]);
  return make_grid(shape, [&](Dims at) {
    std::swap(at[row], at[row + 1]);
    return x.at(at);
  });
}
/// t^-1 b for the upper triangle of t.
Grid substitute_upper(const Grid& t, const Grid& b) {
  return reversed(substitute(reversed(t, true), reversed(b, false)), false);
}

}  // namespace

std::vector<OpRow> linalg_rows() {
  std::vector<OpRow> rows = {
      matmul_row("", {{3, 4}, {4, 2}}, {{0, 4}, {4, 2}}, {{3000, 60}, {60, 50}}),
      matmul_row("inner_empty", {{3, 1}, {1, 2}}, {{3, 0}, {0, 2}}, {{130, 140}, {140, 150}}),
      matmul_row("batch", {{2, 3, 4}, {2, 4, 2}}, {{0, 3, 4}, {0, 4, 2}},
                 {{9, 33, 40}, {9, 40, 35}}),
      matmul_row("shared", {{2, 3, 4}, {4, 2}}, {{2, 0, 4}, {4, 2}}, {{9, 33, 40}, {40, 35}}),
      matmul_row("broadcast", {{2, 1, 3, 4}, {5, 4, 2}}, {{2, 1, 3, 4}, {0, 4, 2}},
                 {{3, 1, 33, 40}, {5, 40, 35}}),
      linear_row("", {{3, 4}, {4, 2}, {2}}, {{0, 4}, {4, 2}, {2}}, {{3000, 60}, {60, 50}, {50}}),
      linear_row("no_bias", {{2, 3, 4}, {4, 2}}, {{2, 0, 4}, {4, 2}}, {{9, 33, 40}, {40, 35}}),
      linear_row("vector", {{4}, {4, 2}, {2}}, {{4}, {4, 0}, {0}}, {{400}, {400, 70}, {70}}),
      linear_row("tasks", {{2, 3, 4}, {2, 4, 2}, {2, 2}}, {{2, 0, 4}, {2, 4, 2}, {2, 2}},
                 {{9, 33, 40}, {9, 40, 35}, {9, 35}}),
      linear_row("task_weights", {{2, 1, 3, 4}, {2, 4, 2}, {2}}, {{0, 1, 3, 4}, {0, 4, 2}, {2}},
                 {{9, 3, 33, 40}, {9, 40, 35}, {35}}),
      linear_row("task_biases", {{2, 3, 4}, {4, 2}, {2, 2}}, {{2, 0, 4}, {4, 2}, {2, 2}},
                 {{9, 33, 40}, {40, 35}, {9, 35}}),
      {"tril",
       "",
       {{2, 3, 4}},
       {{2, 0, 4}},
       {{7, 60, 70}},
       [](In i) { return Variables{tril(i[0], 1)}; },
       triangle_of(1, true)},
      {"triu",
       "",
       {{4, 3}},
       {{4, 0}},
       {{300, 150}},
       [](In i) { return Variables{triu(i[0], -1)}; },
       triangle_of(-1, false)},
  };
  const auto solver = [&](const char* operation, const char* variant, Shapes shapes, Shapes empty,
                          Shapes large, Function f, Oracle oracle) {
    rows.push_back({operation,
                    variant,
                    std::move(shapes),
                    std::move(empty),
                    std::move(large),
                    std::move(f),
                    std::move(oracle),
                    -0.5,
                    0.5,
                    {DType::f64, DType::f32}});
  };
  solver(
      "cholesky", "", {{2, 3, 3}}, {{0, 3, 3}}, {{9, 40, 40}},
      [](In i) { return Variables{cholesky(steady(i[0] / static_cast<double>(i[0].size(-1))))}; },
      [](const Grids& x) {
        const auto n = static_cast<double>(x[0].shape.at(-1));
        return factor(steady(make_grid(x[0].shape, [&](auto& at) { return x[0].at(at) / n; })));
      });
  solver(
      "triangular_solve", "", {{3, 3}, {3, 2}}, {{3, 3}, {3, 0}}, {{70, 70}, {70, 200}},
      [](In i) { return Variables{triangular_solve(steady(i[0]), i[1])}; },
      [](const Grids& x) { return substitute(steady(x[0]), x[1]); });
  solver(
      "triangular_solve", "upper_broadcast", {{2, 3, 3}, {5, 1, 3, 2}}, {{2, 0, 0}, {5, 1, 0, 2}},
      {{9, 30, 30}, {5, 1, 30, 20}},
      [](In i) { return Variables{triangular_solve(steady(i[0]), i[1], Triangle::upper)}; },
      [](const Grids& x) { return substitute_upper(steady(x[0]), x[1]); });
  solver(
      "cholesky_solve", "", {{2, 3, 3}, {3, 2}}, {{0, 3, 3}, {3, 2}}, {{9, 30, 30}, {30, 20}},
      [](In i) { return Variables{cholesky_solve(steady(i[0]), i[1])}; },
      [](const Grids& x) {
        const Grid l = steady(x[0]);
        return substitute_upper(turned(l), substitute(l, x[1]));
      });
  return rows;
}

}  // namespace mettle::test
