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
  register_layer_norm();
  register_linalg();
  register_matmul();
  register_matmul_mma();
  register_optimizer();
  register_random();
}

}  // namespace mettle::kernels::cuda
