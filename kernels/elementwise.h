// Elementwise maps. Inputs are strided (a stride of 0 broadcasts); outputs are dense, row-major.
#pragma once

#include "engine/dtype.h"
#include "engine/shape.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

/// The functions of one argument. alpha and beta are parameters of affine (alpha * x + beta),
/// power (x to the alpha) and clamp (to [alpha, beta]; NaN stays).
enum class UnaryOp : std::uint8_t {
  affine,
  abs,
  sign,
  exp,
  log,
  log1p,
  sqrt,
  rsqrt,
  reciprocal,
  sin,
  cos,
  tanh,
  sigmoid,
  erf,
  relu,
  softplus,
  clamp,
  power
};

/// dtype f64 f32 bf16 f16 for all; i64 i32 for affine, abs and sign.
struct UnaryArgs {
  UnaryOp op;
  DType dtype;
  const void* x;
  void* y;
  Shape shape;
  Strides x_strides;
  double alpha = 1.0;
  double beta = 0.0;
};

inline Slot<UnaryArgs> unary{"unary"};

/// maximum and minimum return NaN when either argument is NaN.
enum class BinaryOp : std::uint8_t { add, sub, mul, div, maximum, minimum, power };

/// dtype f64 f32 bf16 f16; i64 i32 for all but power (integer division truncates and needs b != 0).
struct BinaryArgs {
  BinaryOp op;
  DType dtype;
  const void* a;
  const void* b;
  void* y;
  Shape shape;
  Strides a_strides;
  Strides b_strides;
};

inline Slot<BinaryArgs> binary{"binary"};

enum class CompareOp : std::uint8_t { eq, ne, lt, le, gt, ge };

/// y (bool) = a OP b, for any dtype. A comparison with NaN is false, except ne.
struct CompareArgs {
  CompareOp op;
  DType dtype;
  const void* a;
  const void* b;
  void* y;
  Shape shape;
  Strides a_strides;
  Strides b_strides;
};

inline Slot<CompareArgs> compare{"compare"};

/// y = condition ? a : b, for any dtype of a and b; the condition is bool.
struct WhereArgs {
  DType dtype;
  const void* condition;
  const void* a;
  const void* b;
  void* y;
  Shape shape;
  Strides condition_strides;
  Strides a_strides;
  Strides b_strides;
};

inline Slot<WhereArgs> where{"where"};

}  // namespace mettle::kernels
