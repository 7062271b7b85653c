// The list of CUDA kernel families: one call per family.
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {

void register_kernels() {
  register_attention();
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
  register_matmul_cublaslt();
  register_matmul_mma();
  register_optimizer();
  register_order();
  register_random();
  register_reduce();
  register_scan();
}

}  // namespace mettle::kernels::cuda
