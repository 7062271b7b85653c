// The list of CPU kernel families: one call per family.
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {

void register_kernels() {
  cap_simd_level();  // before any kernel is dispatched
  register_elementwise();
  register_reduce();
  register_linalg();
  register_indexing();
  register_order();
  register_scan();
  register_random();
  register_matmul_blocked();
  register_matmul_onednn();
  register_attention();
  register_bce_with_logits();
  register_bce_with_logits_naive();
  register_bias_gelu();
  register_bias_gelu_naive();
  register_cross_entropy();
  register_cross_entropy_naive();
  register_dropout();
  register_embedding();
  register_layer_norm();
  register_layer_norm_naive();
  register_optimizer();
  register_optimizer_naive();
}

}  // namespace mettle::kernels::cpu
