// The list of CUDA kernel families: one call per family.
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {

void register_kernels() {
  register_copy();
  register_elementwise();
  register_embedding();
  register_indexing();
  register_linalg();
  register_matmul();
  register_optimizer();
  register_order();
  register_reduce();
  register_scan();
}

}  // namespace mettle::kernels::cuda
