// What variants of the matrix product do about a gelu that they cannot apply on the way to memory.
#pragma once

#include "kernels/matmul.h"

namespace mettle::kernels {

/// The product before the gelu: Z, into C's memory where it is not wanted.
inline MatmulArgs without_gelu(MatmulArgs args) {
  if (!args.epilogue.gelu) return args;
  if (args.epilogue.z) args.c = args.epilogue.z;
  args.epilogue.gelu.reset();
  args.epilogue.z = nullptr;
  return args;
}

/// `product`, followed by the gelu as a kernel of its own.
template <void (*product)(const Stream&, const MatmulArgs&)>
void matmul_then_gelu(const Stream& stream, const MatmulArgs& args) {
  const MatmulArgs linear = without_gelu(args);
  product(stream, linear);
  if (args.epilogue.gelu)
    bias_gelu_forward(stream, {args.dtype, *args.epilogue.gelu, numel(args.batch) * args.m, args.n,
                               1, linear.c, nullptr, args.c});
}

}  // namespace mettle::kernels
