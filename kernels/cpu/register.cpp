// The list of CPU kernel families: one call per family.
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {

void register_kernels() {}

}  // namespace mettle::kernels::cpu
