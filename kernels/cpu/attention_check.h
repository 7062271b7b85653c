// The argument checks of the attention kernels, on every device. Needs nothing that nvcc cannot
// compile.
#pragma once

#include "kernels/attention.h"

namespace mettle::kernels::cpu::attention {

/// Throw before any work: ShapeError, DTypeError or ValueError for sizes, a dtype or a dropout
/// probability that make no sense, ValueError for a null operand that must be read. `operation`
/// begins the message.
void check_call(const AttentionForwardArgs& args, const char* operation);
void check_call(const AttentionJvpArgs& args, const char* operation);
void check_call(const AttentionBackwardArgs& args, const char* operation);
void check_call(const AttentionDoubleBackwardArgs& args, const char* operation);

}  // namespace mettle::kernels::cpu::attention
