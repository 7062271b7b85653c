// The catalogue of operations. Every one can be differentiated to any order where its inputs are
// floating.
//
// Common rules. Two operands broadcast as in NumPy and must have one dtype and one device. Axes may
// be counted from the end (-1 is the last). Errors are thrown before any work: ShapeError,
// DTypeError, DeviceError.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "autograd/random_key.h"
#include "autograd/variable.h"
#include "kernels/linalg.h"
#include "kernels/order.h"
#include "kernels/reduction.h"

namespace mettle {

// ------------------------------------------------------------------------------------------
// creation

Variable full(const Shape& shape, double value, DType dtype = DType::f32,
              Device device = Device::cpu());
Variable full_like(const Variable& x, double value);
/// 0, 1, ..., n - 1 as i64.
Variable arange(std::int64_t n, Device device = Device::cpu());
/// Uniform in [low, high); element i is a function of (key, i).
Variable uniform(const Shape& shape, const RandomKey& key, double low = 0.0, double high = 1.0,
                 DType dtype = DType::f32, Device device = Device::cpu());
/// Normal, by Box and Muller's transform of uniform numbers.
Variable normal(const Shape& shape, const RandomKey& key, double mean = 0.0, double deviation = 1.0,
                DType dtype = DType::f32, Device device = Device::cpu());
/// Integers of [low, high), i64; high - low is at most 2^32.
Variable randint(const Shape& shape, const RandomKey& key, std::int64_t low, std::int64_t high,
                 Device device = Device::cpu());
/// 0, 1, ..., n - 1 in random order, i64.
Variable permutation(std::int64_t n, const RandomKey& key, Device device = Device::cpu());

// ---------------------------------------------------------------------------------------
// elementwise

Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
/// At equal arguments the gradient goes to a.
Variable maximum(const Variable& a, const Variable& b);
Variable minimum(const Variable& a, const Variable& b);

/// x + scale a b, rounded once where the machine has fused multiply-add (16-bit types are computed
/// in f32).
Variable addcmul(const Variable& x, const Variable& a, const Variable& b, double scale = 1.0);

/// scale * x + shift.
Variable affine(const Variable& x, double scale, double shift);
Variable neg(const Variable& x);
Variable abs(const Variable& x);
/// -1, 0 or 1; its derivative is zero.
Variable sign(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable log1p(const Variable& x);
Variable sqrt(const Variable& x);
Variable rsqrt(const Variable& x);
Variable reciprocal(const Variable& x);
Variable sin(const Variable& x);
Variable cos(const Variable& x);
Variable tanh(const Variable& x);
Variable sigmoid(const Variable& x);
/// dy (1 - y^2): what tanh sends back, y its value.
Variable tanh_backward(const Variable& dy, const Variable& y);
/// dy y (1 - y): what sigmoid sends back, y its value.
Variable sigmoid_backward(const Variable& dy, const Variable& y);
Variable erf(const Variable& x);
/// max(x, 0); its derivative at 0 is 0.
Variable relu(const Variable& x);
/// log(1 + exp(x)), without overflow.
Variable softplus(const Variable& x);
/// log(sigmoid(x)) = -softplus(-x).
Variable log_sigmoid(const Variable& x);
/// x sigmoid(x).
Variable silu(const Variable& x);
/// Into [low, high]; the gradient passes where x is inside, the ends included. NaN stays.
Variable clamp(const Variable& x, double low, double high);
/// x to a constant power.
Variable pow(const Variable& x, double exponent);
Variable square(const Variable& x);

inline Variable add(const Variable& a, double b) { return affine(a, 1.0, b); }
inline Variable add(double a, const Variable& b) { return affine(b, 1.0, a); }
inline Variable sub(const Variable& a, double b) { return affine(a, 1.0, -b); }
inline Variable sub(double a, const Variable& b) { return affine(b, -1.0, a); }
inline Variable mul(const Variable& a, double b) { return affine(a, b, 0.0); }
inline Variable mul(double a, const Variable& b) { return affine(b, a, 0.0); }
inline Variable div(const Variable& a, double b) { return affine(a, 1.0 / b, 0.0); }

inline Variable operator-(const Variable& a) { return neg(a); }
inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }
inline Variable operator+(const Variable& a, double b) { return add(a, b); }
inline Variable operator-(const Variable& a, double b) { return sub(a, b); }
inline Variable operator*(const Variable& a, double b) { return mul(a, b); }
inline Variable operator/(const Variable& a, double b) { return div(a, b); }
inline Variable operator+(double a, const Variable& b) { return add(a, b); }
inline Variable operator-(double a, const Variable& b) { return sub(a, b); }
inline Variable operator*(double a, const Variable& b) { return mul(a, b); }

// Comparisons give bool and stay outside the graph.
Variable equal(const Variable& a, const Variable& b);
Variable not_equal(const Variable& a, const Variable& b);
Variable less(const Variable& a, const Variable& b);
Variable less_equal(const Variable& a, const Variable& b);
Variable greater(const Variable& a, const Variable& b);
Variable greater_equal(const Variable& a, const Variable& b);
Variable isnan(const Variable& x);
/// Neither NaN nor infinite.
Variable isfinite(const Variable& x);
// Logic takes and gives bool.
Variable logical_and(const Variable& a, const Variable& b);
Variable logical_or(const Variable& a, const Variable& b);
Variable logical_not(const Variable& x);
/// Over the given axes; none given means all. any of nothing is false, all of nothing true.
Variable any(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false);
Variable all(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false);
/// condition ? a : b; the condition is bool.
Variable where(const Variable& condition, const Variable& a, const Variable& b);

// -------------------------------------------------------------------------- shape, layout and
// dtype

/// The same value as a new variable: gradients can be taken with respect to one use of x.
Variable alias(const Variable& x);
/// A copy on another device, or x itself when it is there; the gradient comes back.
Variable to(const Variable& x, Device device);
/// Converts the dtype; the gradient is converted back.
Variable cast(const Variable& x, DType dtype);
/// Row-major copy, or x itself when it is so already.
Variable contiguous(const Variable& x);
/// One extent may be -1: what is left. A view where the strides allow it, else a copy.
Variable reshape(const Variable& x, const Shape& shape);
Variable permute(const Variable& x, std::span<const int> order);
Variable permute(const Variable& x, std::initializer_list<int> order);
Variable transpose(const Variable& x, int axis_a, int axis_b);
Variable expand(const Variable& x, const Shape& shape);
Variable unsqueeze(const Variable& x, int axis);
Variable squeeze(const Variable& x, int axis);
inline constexpr std::int64_t to_end = std::numeric_limits<std::int64_t>::max();
/// Elements start, start + step, ... below stop; negative positions count from the end.
Variable slice(const Variable& x, int axis, std::int64_t start, std::int64_t stop = to_end,
               std::int64_t step = 1);
/// One index of an axis, which disappears.
Variable select(const Variable& x, int axis, std::int64_t index);
/// Zeros of extent `size` along `axis` with x at start, start + step, ...: the adjoint of slice.
Variable pad(const Variable& x, int axis, std::int64_t size, std::int64_t start,
             std::int64_t step = 1);
Variable concat(std::span<const Variable> parts, int axis);
Variable stack(std::span<const Variable> parts, int axis);
/// The axis in reversed order; its own adjoint.
Variable flip(const Variable& x, int axis);

// ---------------------------------------------------------------------------------------
// look-up, order
//
// Indices are i64 or i32 in [0, extent of the axis); any other is a ValueError that names it.

/// y[.., i, ..] = x[.., index[.., i, ..], ..] along the axis; the index has x's shape outside of
/// it.
Variable gather(const Variable& x, int axis, const Variable& index);
/// Zeros of extent `size` along the axis, to which x is added at the index, of x's shape, in the
/// order of the axis: the adjoint of gather.
Variable scatter_add(const Variable& x, int axis, const Variable& index, std::int64_t size);
/// The slices ids (n,) of the axis, in their order, repeated where an id is.
Variable index_select(const Variable& x, int axis, const Variable& ids);
/// Zeros of extent `size` along the axis, to which slice i of x is added at ids[i] for i = 0, 1,
/// ...: the adjoint of index_select.
Variable index_add(const Variable& x, int axis, const Variable& ids, std::int64_t size);
/// ids' shape and one more axis of extent `classes`: 1 at the id, else 0.
Variable one_hot(const Variable& ids, std::int64_t classes, DType dtype = DType::f32);

using kernels::Order;  // ascending, descending

/// Index (i64) of the largest and the smallest element of an axis that is not empty: the first of
/// equal ones, the first NaN where there is one.
Variable argmax(const Variable& x, int axis, bool keep_axis = false);
Variable argmin(const Variable& x, int axis, bool keep_axis = false);
/// The indices (i64) that sort an axis: stable, NaN last in either order.
Variable argsort(const Variable& x, int axis, Order order = Order::ascending);

struct Sorted {
  Variable values, indices;  // of x's dtype, with gradients; i64
};
Sorted sort(const Variable& x, int axis, Order order = Order::ascending);
/// The first k of sort() in descending order.
Sorted topk(const Variable& x, std::int64_t k, int axis = -1);

// ----------------------------------------------------------------------------------------
// reductions

/// Over the given axes; none given means all.
Variable sum(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false);
Variable mean(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false);
/// Sums over what broadcasting from `shape` to x's shape repeated: the adjoint of expand.
Variable sum_to(const Variable& x, const Shape& shape);
/// Running sums along one axis: y_i = x_0 + ... + x_i. The adjoint runs from the other end.
Variable cumsum(const Variable& x, int axis);
/// Largest and smallest element along one axis, which must not be empty; equal ones share the
/// gradient. NaN when an element is.
Variable max(const Variable& x, int axis, bool keep_axis = false);
Variable min(const Variable& x, int axis, bool keep_axis = false);
/// sum((x - mean)^2) / (n - correction) over n elements; ValueError unless n > correction.
Variable var(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false,
             double correction = 0.0);
/// Euclidean norm, without overflow. Where it is 0 its gradient is 0.
Variable norm(const Variable& x, std::initializer_list<int> axes = {}, bool keep_axes = false);
/// <a, b> / (|a| |b|) along one axis of the broadcast operands; 0, with gradient 0, beside a vector
/// of length 0.
Variable cosine_similarity(const Variable& a, const Variable& b, int axis = -1);

/// log(sum(exp(x))) along one axis. A row of nothing but -inf gives -inf and has softmax 0.
Variable logsumexp(const Variable& x, int axis, bool keep_axis = false);
/// exp(x) / sum(exp(x)) along one axis; 0 in a row of nothing but -inf.
Variable softmax(const Variable& x, int axis);
/// x - logsumexp(x) along one axis; -inf in a row of nothing but -inf.
Variable log_softmax(const Variable& x, int axis);

// --------------------------------------------------------------------------------------------
// losses

using kernels::Reduction;  // none, mean, sum

/// (prediction - target)^2. Losses take equal shapes and give f32 (f64 for f64): of that shape for
/// Reduction::none, else a scalar.
Variable mse_loss(const Variable& prediction, const Variable& target,
                  Reduction reduction = Reduction::mean);
/// d^2 / 2 for differences |d| <= delta, delta (|d| - delta / 2) beyond. Huber, "Robust estimation
/// of a location parameter", 1964.
Variable huber_loss(const Variable& prediction, const Variable& target, double delta = 1.0,
                    Reduction reduction = Reduction::mean);

// ------------------------------------------------------------------------------------ linear
// algebra

/// (..., m, k) x (..., k, n) -> (..., m, n); leading axes broadcast.
Variable matmul(const Variable& a, const Variable& b);
/// x weight + bias in one pass: x (..., in), weight (in, out), bias (out) or null -> (..., out).
/// With x (T, ..., in) either may have a leading axis T, one matrix or row for every task.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = {});
/// The n x n identity.
Variable eye(std::int64_t n, DType dtype = DType::f32, Device device = Device::cpu());
/// (..., m, n) with zeros above (tril) or below (triu) the given diagonal: 0 is the main one, -1
/// the one below it. Each is its own adjoint.
Variable tril(const Variable& x, std::int64_t diagonal = 0);
Variable triu(const Variable& x, std::int64_t diagonal = 0);

using kernels::Triangle;  // lower, upper

/// The lower triangular L with L L^T = (a + a^T) / 2 for every matrix of (..., n, n), f64 or f32.
/// ValueError naming the matrix and the pivot where one is not positive definite.
Variable cholesky(const Variable& a);
/// t^-1 b for triangular t (..., n, n) and b (..., n, m), f64 or f32; leading axes broadcast. Only
/// the named triangle of t is read. For t^T give transpose(t, -2, -1) and the other triangle. A
/// zero on the diagonal is a ValueError naming the matrix and the place.
Variable triangular_solve(const Variable& t, const Variable& b,
                          Triangle triangle = Triangle::lower);
/// (l l^T)^-1 b for l = cholesky(a): solves a x = b.
Variable cholesky_solve(const Variable& l, const Variable& b);

}  // namespace mettle
