// Registration of the CPU kernels: one function per family, called from the list in register.cpp.
#pragma once

namespace mettle::kernels::cpu {

void register_kernels();

}  // namespace mettle::kernels::cpu
