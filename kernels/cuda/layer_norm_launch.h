// The launches that layer norm and dropout + residual + layer norm share: the plain form is the
// fused one with nothing dropped, no residual and no sum.
#pragma once

#include "kernels/dropout.h"

namespace mettle::kernels::cuda {

/// Plain where s is null: then x is normalised as it is, and `residual` and dropout are ignored.
void launch_norm_forward(const Stream& stream, const DropoutResidualLayerNormForwardArgs& a,
                         const char* operation);
/// Plain where `plain`: ds and dresidual are null then, and p is 0. s is what was normalised.
void launch_norm_backward(const Stream& stream, const DropoutResidualLayerNormBackwardArgs& a,
                          bool plain, const char* operation);
void launch_norm_double_backward(const Stream& stream,
                                 const DropoutResidualLayerNormDoubleBackwardArgs& a, bool plain,
                                 const char* operation);

}  // namespace mettle::kernels::cuda
