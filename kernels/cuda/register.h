// The CUDA kernel families: each adds its variants to its slots.
#pragma once

namespace mettle::kernels::cuda {

/// Adds every CUDA kernel to its slot. Called by register_builtin_kernels() in a build with
/// METTLE_CUDA, and by programs that run on the emulated device.
void register_kernels();

void register_attention();
void register_bce_with_logits();
void register_bias_gelu();
void register_copy();
void register_cross_entropy();
void register_dropout();
void register_elementwise();
void register_elementwise_unary();
void register_embedding();
void register_indexing();
void register_layer_norm();
void register_linalg();
void register_matmul();
void register_matmul_cublaslt();
void register_matmul_mma();
void register_optimizer();
void register_order();
void register_random();
void register_reduce();
void register_scan();

}  // namespace mettle::kernels::cuda
