// The vectorised inner loops of the elementwise kernels, one function per operation and type.
#pragma once

#include "kernels/elementwise.h"

namespace mettle::kernels::cpu {

/// y[j] = op(x[j]), j < n; y may be x.
template <class C> using UnaryTile = void (*)(const C* x, C* y, std::int64_t n, C alpha, C beta);
/// y[j] = op(a[j], b[j]), j < n; y may be a or b.
template <class C> using BinaryTile = void (*)(const C* a, const C* b, C* y, std::int64_t n);
/// y[j] = x[j] + scale * a[j] * b[j], j < n; y may be any of them.
template <class C>
using AddcmulTile = void (*)(const C* x, const C* a, const C* b, C* y, std::int64_t n, C scale);

UnaryTile<float> unary_tile(UnaryOp op, float);
UnaryTile<double> unary_tile(UnaryOp op, double);
BinaryTile<float> binary_tile(BinaryOp op, float);
BinaryTile<double> binary_tile(BinaryOp op, double);
AddcmulTile<float> addcmul_tile(float);
AddcmulTile<double> addcmul_tile(double);

}  // namespace mettle::kernels::cpu
