// Registration of the CPU kernels: one function per family, called from the list in register.cpp.
#pragma once

namespace mettle::kernels::cpu {

void register_kernels();

void register_layer_norm();
void register_layer_norm_naive();

}  // namespace mettle::kernels::cpu
