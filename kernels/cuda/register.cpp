// The list of CUDA kernel families: one call per family.
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {

void register_kernels() {
  register_bce_with_logits();
  register_bias_gelu();
  register_copy();
  register_cross_entropy();
  register_dropout();
  register_elementwise();
  register_embedding();
  register_indexing();
  register_layer_norm();
  register_linalg();
  register_matmul();
#if defined(METTLE_CUDA)  // the library computes on GPUs only
  register_matmul_cublaslt();
#endif
  register_matmul_mma();
  register_optimizer();
  register_order();
  register_random();
  register_reduce();
  register_scan();
}

}  // namespace mettle::kernels::cuda
