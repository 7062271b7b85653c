// Registration of the CPU kernels: one function per family, called from the list in register.cpp.
#pragma once

namespace mettle::kernels::cpu {

void register_kernels();

/// See simd_level(). ValueError.
void cap_simd_level();

void register_elementwise();
void register_reduce();
void register_linalg();
void register_indexing();
void register_order();
void register_scan();
void register_random();
void register_matmul_blocked();
void register_matmul_onednn();
void register_attention();
void register_bce_with_logits();
void register_bce_with_logits_naive();
void register_bias_gelu();
void register_bias_gelu_naive();
void register_cross_entropy();
void register_cross_entropy_naive();
void register_dropout();
void register_embedding();
void register_layer_norm();
void register_layer_norm_naive();
void register_optimizer();
void register_optimizer_naive();

}  // namespace mettle::kernels::cpu
