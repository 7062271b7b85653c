// The list of CUDA kernel families: one call per family.
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {

void register_kernels() {
  register_linalg();
  register_matmul();
  register_matmul_mma();
  register_optimizer();
  register_random();
}

}  // namespace mettle::kernels::cuda
