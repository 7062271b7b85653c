// The test kernels of what came with compute capability 9.0: multiplies of warpgroups and copies of
// tensors. Plain host code, like kernels.h.
#pragma once

#include <cstdint>

#include "engine/device.h"
#include "engine/half.h"
#include "kernels/cuda/device_tensor_map.h"

namespace mettle::emulation_test {

// ---- wgmma.cuh ----------------------------------------------------------------------------------
/// One kernel: types, tile and layouts of its operands.
struct WgmmaCase {
  enum class Type { bf16, f16, tf32 } type;
  int n;
  dev::Swizzle swizzle;
  dev::Major major_a;
  dev::Major major_b;
  bool from_registers;
};
int wgmma_cases();
WgmmaCase wgmma_case(int number);
/// d (64, n) = a (64, 64) b (64, n) + a b, for tf32 with 32 in place of the inner 64: once in place
/// of what d was, once added to it.
void wgmma(int number, const Stream& stream, const float* a, const float* b, float* d);

// ---- wgmma_mistakes.cuh -------------------------------------------------------------------------
enum class WgmmaFault {
  none,
  fence_by_reader,  // right: the proxy fence may be behind the barrier
  one_warp_tells,   // right: who learns of one warp's wait may overwrite the operands
  later_stage,      // right: overwrites the operands of a group that was waited for
  no_fence,
  written_after_fence,
  fragments_not_fenced,
  read_before_wait,
  too_few_waited,
  not_committed,
  never_waited,
  fragments_overwritten,
  part_of_accumulators,
  no_proxy_fence,
  no_barrier,
  overwritten_before_wait,
  overwritten_by_other_group,
  overwritten_wrong_stage,
  never_written,
  beyond_the_array,
  missing_warp,
  warp_at_barrier,
  divergent_lines,
  divergent_operands,
  off_pattern,
  half_warpgroup,
};
/// d (64, 16) = 1 times the sum of the inner 16 ones, by the first of two warpgroups.
void wgmma_mistake(WgmmaFault fault, const Stream& stream, float* d);

// ---- tma.cuh ------------------------------------------------------------------------------------
/// out = the bytes of shared memory, as floats, that a copy of the box at `at` fills; coordinates
/// beyond the rank are not looked at.
void tensor_tile(int rank, const Stream& stream, const dev::TensorMap& map, const int (&at)[4],
                 int bytes, std::uint32_t* out);
/// Stores the tile of `bytes` to the tensor, or adds it, from each of `blocks` blocks.
void tensor_store(int rank, bool add, const Stream& stream, const dev::TensorMap& map,
                  const int (&at)[4], int bytes, const std::uint32_t* tile, int blocks);

dev::TensorMap tensor_map(const dev::TensorLayout& layout);

enum class TmaFault {
  none,
  read_before_store,  // right: reads the tensor after wait_stores()
  not_waited,
  wrong_bytes,
  misaligned_tile,
  wrong_rank,
  no_map,
  barrier_not_fenced,
  tile_not_fenced,  // written by plain stores before the copy
  store_not_fenced,
  store_without_barrier,
  overwritten_tile,  // before the store has read it
  never_waited,
  not_committed,
  read_too_early,    // the tensor, after wait_store_reads()
  unordered_stores,  // by two blocks
  added_halves,
};
/// One block of 64 threads: x (64 x 32 floats, which `map` describes in boxes of 8 x 32) to y and
/// back.
void tma_mistake(TmaFault fault, const Stream& stream, const dev::TensorMap& map, float* x,
                 float* y);

/// Where byte `offset` of a tile is, for every swizzle.
void swizzle_offsets(const Stream& stream, int* none, int* of_32, int* of_64, int* of_128,
                     int count);

// ---- wgmma_gemm.cuh -----------------------------------------------------------------------------
enum class HopperGemmFault {
  none,
  no_full_wait,
  no_wait_before_read,
  no_empty_wait,
  wrong_bytes,
  early_release,  // stages are given back when their multiplies are issued
};
/// c (m, n) = a (m, k) b (n, k)^T; k and n are multiples of 8.
struct HopperGemm {
  const bf16* a;
  const bf16* b;
  float* c;
  int m;
  int n;
  int k;
};
void hopper_gemm(HopperGemmFault fault, const Stream& stream, const HopperGemm& args);

}  // namespace mettle::emulation_test
