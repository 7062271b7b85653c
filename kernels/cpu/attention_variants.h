// The variants of the attention kernels on the CPU, for the registration list.
//   naive: the formulas in plain loops, quadratic memory; the oracle.
//   strip: a strip of query rows against all keys at a time; memory linear in Nq + Nk.
#pragma once

#include "kernels/attention.h"

namespace mettle::kernels::cpu::attention {

void forward_naive(const Stream& stream, const AttentionForwardArgs& args);
void jvp_naive(const Stream& stream, const AttentionJvpArgs& args);
void backward_naive(const Stream& stream, const AttentionBackwardArgs& args);
void double_backward_naive(const Stream& stream, const AttentionDoubleBackwardArgs& args);

void forward_strip(const Stream& stream, const AttentionForwardArgs& args);
void jvp_strip(const Stream& stream, const AttentionJvpArgs& args);
void backward_strip(const Stream& stream, const AttentionBackwardArgs& args);
void double_backward_strip(const Stream& stream, const AttentionDoubleBackwardArgs& args);

}  // namespace mettle::kernels::cpu::attention
