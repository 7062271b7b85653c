// C = A B^T for A (M, K), B (N, K) in bf16 and C in f32: tiles of 64 x 128 x 64, a ring of three
// stages. One thread of a producer warp orders copies of boxes, swizzled by 128 bytes, and a
// warpgroup multiplies. `full` says that a stage's bytes are in, `empty` that its multiplies are
// done. Borders need no care on the way in: copies give zeros outside of the matrices.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/hopper.h"

namespace mettle::emulation_test {

struct WgmmaGemmTile {
  static constexpr int m = 64, n = 128, k = 64, stages = 3;
  static constexpr int a_elements = m * k, b_elements = n * k;
  static constexpr int stage_bytes = (a_elements + b_elements) * 2;
  static constexpr int shared_bytes = stages * stage_bytes;
  // The warpgroup comes first: it starts at a multiple of four warps.
  static constexpr int consumers = 128, threads = consumers + 32;
  static constexpr dev::Swizzle swizzle = dev::Swizzle::bytes_128;
};

struct WgmmaGemmRing {
  bf16* a;
  bf16* b;
  dev::MBarrier* full;
  dev::MBarrier* empty;
};

template <HopperGemmFault fault>
METTLE_DEVICE void load_stages(const WgmmaGemmRing& ring, const dev::TensorMap* a,
                               const dev::TensorMap* b, int steps) {
  using enum HopperGemmFault;
  using Tile = WgmmaGemmTile;
  const int row = dev::block_index().y * Tile::m, column = dev::block_index().x * Tile::n;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % Tile::stages, round = step / Tile::stages;
    if (round > 0 && fault != no_empty_wait)
      dev::mbarrier_wait(&ring.empty[stage], (round - 1) % 2);
    constexpr std::uint32_t bytes = Tile::stage_bytes + (fault == wrong_bytes ? 128 : 0);
    dev::MBarrier* full = &ring.full[stage];
    bf16 *tile_a = ring.a + stage * Tile::a_elements, *tile_b = ring.b + stage * Tile::b_elements;
    dev::mbarrier_arrive_expect(full, bytes);                     // arrive
    dev::copy_tensor(tile_a, a, {step * Tile::k, row}, full);     // copy a
    dev::copy_tensor(tile_b, b, {step * Tile::k, column}, full);  // copy b
  }
}

template <HopperGemmFault fault>
METTLE_DEVICE void multiply_stages(float (&acc)[WgmmaGemmTile::n / 2], const WgmmaGemmRing& ring,
                                   int steps) {
  using enum HopperGemmFault;
  using Tile = WgmmaGemmTile;
  constexpr int eight_rows = 8 * 128;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % Tile::stages;
    if (fault != no_full_wait)
      dev::mbarrier_wait(&ring.full[stage], step / Tile::stages % 2);  // full wait
    const auto a =
        dev::shared_matrix<Tile::swizzle>(ring.a + stage * Tile::a_elements, 16, eight_rows);
    const auto b =
        dev::shared_matrix<Tile::swizzle>(ring.b + stage * Tile::b_elements, 16, eight_rows);
    dev::fence_multiplies(acc);
    METTLE_UNROLL
    for (int k = 0; k < Tile::k; k += 16) {
      const auto left = dev::advance(a, 2 * k), right = dev::advance(b, 2 * k);
      dev::multiply_add_async<bf16>(acc, left, right, step + k > 0);  // multiply
    }
    dev::commit_multiplies();
    // The multiplies of the step before are done once these are the only ones under way.
    if (fault != early_release) {
      dev::wait_multiplies<1>();
      if (step > 0 && dev::thread_rank() == 0)
        dev::mbarrier_arrive(&ring.empty[(step - 1) % Tile::stages]);
    } else if (dev::thread_rank() == 0) {
      dev::mbarrier_arrive(&ring.empty[stage]);
    }
  }
  if (fault != no_wait_before_read) dev::wait_multiplies<0>(acc);
}

template <HopperGemmFault fault>
METTLE_GLOBAL(WgmmaGemmTile::threads)
void wgmma_gemm(METTLE_GRID_CONSTANT const dev::TensorMap a,
                METTLE_GRID_CONSTANT const dev::TensorMap b, float* c, int m, int n, int k) {
  using Tile = WgmmaGemmTile;
  METTLE_SHARED(dev::MBarrier, full, Tile::stages);
  METTLE_SHARED(dev::MBarrier, empty, Tile::stages);
  dev::SharedCarver carver;
  const WgmmaGemmRing ring = {carver.take<bf16, 1024>(Tile::stages * Tile::a_elements),
                              carver.take<bf16, 1024>(Tile::stages * Tile::b_elements), full,
                              empty};
  if (dev::thread_rank() == 0) {
    for (int i = 0; i < Tile::stages; ++i) {
      dev::mbarrier_init(&full[i], 1);
      dev::mbarrier_init(&empty[i], 1);
    }
    dev::fence_async_proxy();
  }
  dev::sync_block();
  const int steps = (k + Tile::k - 1) / Tile::k;
  if (dev::thread_rank() >= Tile::consumers) {
    if (dev::thread_rank() == Tile::consumers) {
      dev::prefetch_tensor_map(&a);
      dev::prefetch_tensor_map(&b);
      load_stages<fault>(ring, &a, &b, steps);
    }
    return;
  }
  float acc[Tile::n / 2];
  METTLE_UNROLL
  for (float& sum : acc) sum = 0;
  multiply_stages<fault>(acc, ring, steps);

  const int lane = dev::lane_index();
  const int row = dev::block_index().y * Tile::m + dev::warp_index() * 16 + lane / 4;
  const int column = dev::block_index().x * Tile::n + lane % 4 * 2;
  METTLE_UNROLL
  for (int i = 0; i < Tile::n / 2; ++i) {
    const int r = row + i / 2 % 2 * 8, s = column + i / 4 * 8 + i % 2;
    if (r < m && s < n) c[static_cast<std::int64_t>(r) * n + s] = acc[i];  // result
  }
}

template <HopperGemmFault fault>
void launch_wgmma_gemm(const Stream& stream, const HopperGemm& args) {
  using Tile = WgmmaGemmTile;
  const auto map_of = [&](const bf16* matrix, int rows, int tile_rows) {
    return dev::make_tensor_map({.element = dev::TensorElement::bf16,
                                 .base = const_cast<bf16*>(matrix),
                                 .rank = 2,
                                 .size = {args.k, rows},
                                 .stride_bytes = {2 * std::int64_t{args.k}},
                                 .box = {Tile::k, tile_rows},
                                 .swizzle = Tile::swizzle});
  };
  const dev::Dim3 grid = {(args.n + Tile::n - 1) / Tile::n, (args.m + Tile::m - 1) / Tile::m, 1};
  dev::launch(wgmma_gemm<fault>, {grid, {Tile::threads, 1, 1}, Tile::shared_bytes}, stream,
              map_of(args.a, args.m, Tile::m), map_of(args.b, args.n, Tile::n), args.c, args.m,
              args.n, args.k);
}

}  // namespace mettle::emulation_test
