// y = gelu(x + bias): the activation of transformer feed-forward layers, fused with the bias.
//
//   erf form:   gelu(z) = z Phi(z),  Phi(z) = (1 + erf(z / sqrt 2)) / 2
//   tanh form:  gelu(z) = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2
//
// Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016. Columns are contiguous; rows
// are split into `groups` equal consecutive groups (tasks), group g adds row g of bias. dx, dx2,
// ddy and y may be the very memory of an [rows, D] input.
#pragma once

#include <cstdint>

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

enum class GeluForm : std::uint8_t { erf, tanh };

/// Throws ShapeError when groups does not divide rows, DTypeError for integers.
struct BiasGeluForwardArgs {
  DType dtype;
  GeluForm form;
  std::int64_t rows;
  std::int64_t columns;  // D
  std::int64_t groups;   // rows of bias; divides rows; at least 1
  const void* x;         // [rows, D]
  const void* bias;      // [groups, D], null: zeros
  void* y;               // [rows, D]
};

/// Gradients of <dy, y>. dbias is overwritten, with zeros when there are no rows.
struct BiasGeluBackwardArgs {
  DType dtype;
  GeluForm form;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;
  const void* x;     // [rows, D]
  const void* bias;  // [groups, D], null: zeros
  const void* dy;    // [rows, D]
  void* dx;          // [rows, D], null: not wanted
  void* dbias;       // [groups, D], null: not wanted
};

/// Gradients of <ddx, dx> + <ddbias, dbias> with respect to x, bias and dy:
/// with e = ddx + ddbias, ddy = e gelu'(z), dx2 = e dy gelu''(z), dbias2 = sum over rows of dx2.
struct BiasGeluDoubleBackwardArgs {
  DType dtype;
  GeluForm form;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t groups;
  const void* x;       // [rows, D]
  const void* bias;    // [groups, D], null: zeros
  const void* dy;      // [rows, D]
  const void* ddx;     // [rows, D], null: zero
  const void* ddbias;  // [groups, D], null: zero
  void* dx2;           // [rows, D], gradient with respect to x, null: not wanted
  void* dbias2;        // [groups, D], gradient with respect to bias, null: not wanted
  void* ddy;           // [rows, D], gradient with respect to dy, null: not wanted
};

inline Slot<BiasGeluForwardArgs> bias_gelu_forward{"bias_gelu_forward"};
inline Slot<BiasGeluBackwardArgs> bias_gelu_backward{"bias_gelu_backward"};
inline Slot<BiasGeluDoubleBackwardArgs> bias_gelu_double_backward{"bias_gelu_double_backward"};

}  // namespace mettle::kernels
