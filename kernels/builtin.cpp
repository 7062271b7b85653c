// One line per kernel family and back end. A new family is added here and nowhere else.
#include "kernels/builtin.h"

#include "kernels/cpu/register.h"
#include "kernels/cuda/register.h"

namespace mettle::kernels {

void register_builtin_kernels() {
  cpu::register_kernels();
#if defined(METTLE_CUDA)
  cuda::register_kernels();
#endif
}

}  // namespace mettle::kernels
