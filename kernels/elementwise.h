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

/// maximum and minimum return NaN when either argument is NaN. Of a gradient dy = a and a value y =
/// b, tanh_backward is dy (1 - y^2) and sigmoid_backward dy y (1 - y).
enum class BinaryOp : std::uint8_t {
  add,
  sub,
  mul,
  div,
  maximum,
  minimum,
  power,
  tanh_backward,
  sigmoid_backward
};

/// dtype f64 f32 bf16 f16; i64 i32 for add to minimum (integer division truncates and needs b !=
/// 0). y may be a or b where that is dense.
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

/// y = x + scale a b. dtype f64 f32 bf16 f16.
struct AddcmulArgs {
  DType dtype;
  const void* x;
  const void* a;
  const void* b;
  void* y;
  Shape shape;
  Strides x_strides;
  Strides a_strides;
  Strides b_strides;
  double scale = 1.0;
};

inline Slot<AddcmulArgs> addcmul{"addcmul"};

}  // namespace mettle::kernels
