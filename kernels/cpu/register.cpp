#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {

void register_kernels() {}

}  // namespace mettle::kernels::cpu
