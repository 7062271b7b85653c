// The instances of the test kernels of compute capability 9.0. Compiled by the host compiler with
// and without instrumentation, and by nvcc where there is one.
#include <cstddef>

#include "tests/emulation/hopper.h"
#include "tests/emulation/tma.cuh"
#include "tests/emulation/wgmma.cuh"
#include "tests/emulation/wgmma_gemm.cuh"
#include "tests/emulation/wgmma_mistakes.cuh"
#include "tests/emulation/with_constant.h"

namespace mettle::emulation_test {
namespace {

using dev::Swizzle;
using dev::Tf32;

constexpr dev::Major k_major = dev::Major::k, mn_major = dev::Major::mn;

struct WgmmaRow {
  WgmmaCase what;
  void (*kernel)(const float*, const float*, float*);
  std::size_t shared_bytes;
};

template <class T, int n, Swizzle swizzle, dev::Major a = k_major, dev::Major b = k_major,
          bool from_registers = false>
constexpr WgmmaRow row() {
  constexpr int depth = std::is_same_v<T, Tf32> ? 32 : 64;
  using A = WgmmaTile<T, swizzle, a, 64, depth>;
  using B = WgmmaTile<T, swizzle, b, n, depth>;
  constexpr auto type = std::is_same_v<T, bf16>  ? WgmmaCase::Type::bf16
                        : std::is_same_v<T, f16> ? WgmmaCase::Type::f16
                                                 : WgmmaCase::Type::tf32;
  constexpr int bytes = A::elements * A::size + 1023 + B::elements * B::size;
  return {{type, n, swizzle, a, b, from_registers},
          multiply_warpgroup<T, n, swizzle, a, b, from_registers>,
          static_cast<std::size_t>(bytes)};
}

constexpr WgmmaRow wgmma_rows[] = {
    row<bf16, 64, Swizzle::none>(),
    row<bf16, 64, Swizzle::bytes_32>(),
    row<bf16, 64, Swizzle::bytes_64>(),
    row<bf16, 64, Swizzle::bytes_128>(),
    row<bf16, 64, Swizzle::none, k_major, mn_major>(),
    row<bf16, 64, Swizzle::bytes_32, k_major, mn_major>(),
    row<bf16, 64, Swizzle::bytes_64, k_major, mn_major>(),
    row<bf16, 64, Swizzle::bytes_128, k_major, mn_major>(),
    row<bf16, 64, Swizzle::none, mn_major, k_major>(),
    row<bf16, 64, Swizzle::bytes_32, mn_major, k_major>(),
    row<bf16, 64, Swizzle::bytes_64, mn_major, mn_major>(),
    row<bf16, 64, Swizzle::bytes_128, mn_major, mn_major>(),
    row<bf16, 8, Swizzle::bytes_128>(),
    row<bf16, 8, Swizzle::bytes_128, k_major, mn_major>(),
    row<bf16, 24, Swizzle::none, mn_major, mn_major>(),
    row<bf16, 32, Swizzle::bytes_64>(),
    row<bf16, 128, Swizzle::bytes_128>(),
    row<bf16, 128, Swizzle::bytes_128, k_major, mn_major>(),
    row<bf16, 256, Swizzle::bytes_128>(),
    row<bf16, 256, Swizzle::bytes_128, k_major, mn_major, true>(),
    row<bf16, 64, Swizzle::none, k_major, k_major, true>(),
    row<bf16, 64, Swizzle::bytes_128, k_major, k_major, true>(),
    row<f16, 32, Swizzle::bytes_128, k_major, mn_major, true>(),
    row<f16, 64, Swizzle::bytes_128>(),
    row<f16, 128, Swizzle::none, mn_major, mn_major>(),
    row<f16, 256, Swizzle::bytes_128>(),
    row<Tf32, 8, Swizzle::none>(),
    row<Tf32, 64, Swizzle::bytes_128>(),
    row<Tf32, 64, Swizzle::bytes_32, k_major, k_major, true>(),
    row<Tf32, 128, Swizzle::bytes_128, k_major, k_major, true>(),
};

}  // namespace

int wgmma_cases() { return static_cast<int>(sizeof(wgmma_rows) / sizeof(wgmma_rows[0])); }
WgmmaCase wgmma_case(int number) { return wgmma_rows[number].what; }

void wgmma(int number, const Stream& stream, const float* a, const float* b, float* d) {
  const WgmmaRow& row = wgmma_rows[number];
  dev::launch(row.kernel, {{1, 1, 1}, {128, 1, 1}, row.shared_bytes}, stream, a, b, d);
}

void wgmma_mistake(WgmmaFault fault, const Stream& stream, float* d) {
  with_constant<WgmmaFault::half_warpgroup>(fault, [&](auto f) {
    constexpr WgmmaFault value = decltype(f)::value;
    const int threads = value == WgmmaFault::half_warpgroup ? 96 : 256;
    dev::launch(make_wgmma_mistake<value>, {{1, 1, 1}, {threads, 1, 1}, 0}, stream, d);
  });
}

dev::TensorMap tensor_map(const dev::TensorLayout& layout) { return dev::make_tensor_map(layout); }

void tensor_tile(int rank, const Stream& stream, const dev::TensorMap& map, const int (&at)[4],
                 int bytes, std::uint32_t* out) {
  const dev::LaunchShape shape = {{1, 1, 1}, {64, 1, 1}, static_cast<std::size_t>(bytes)};
  const TensorPlace place = {{at[0], at[1], at[2], at[3]}};
  const auto kernel = rank == 2 ? read_tile<2> : rank == 3 ? read_tile<3> : read_tile<4>;
  dev::launch(kernel, shape, stream, map, place, bytes, out);
}

void tensor_store(int rank, bool add, const Stream& stream, const dev::TensorMap& map,
                  const int (&at)[4], int bytes, const std::uint32_t* tile, int blocks) {
  const dev::LaunchShape shape = {{blocks, 1, 1}, {64, 1, 1}, static_cast<std::size_t>(bytes)};
  const TensorPlace place = {{at[0], at[1], at[2], at[3]}};
  const auto store = rank == 2   ? write_tile<2, false>
                     : rank == 3 ? write_tile<3, false>
                                 : write_tile<4, false>;
  const auto adds = rank == 2   ? write_tile<2, true>
                    : rank == 3 ? write_tile<3, true>
                                : write_tile<4, true>;
  dev::launch(add ? adds : store, shape, stream, map, place, bytes, tile);
}

void tma_mistake(TmaFault fault, const Stream& stream, const dev::TensorMap& map, float* x,
                 float* y) {
  with_constant<TmaFault::added_halves>(fault, [&](auto f) {
    constexpr TmaFault value = decltype(f)::value;
    const int blocks = value == TmaFault::unordered_stores ? 2 : 1;
    dev::launch(make_tma_mistake<value>, {{blocks, 1, 1}, {64, 1, 1}, 2048}, stream, map, x, y);
  });
}

void swizzle_offsets(const Stream& stream, int* none, int* of_32, int* of_64, int* of_128,
                     int count) {
  dev::launch(give_swizzled, {{1, 1, 1}, {64, 1, 1}, 0}, stream, none, of_32, of_64, of_128, count);
}

void hopper_gemm(HopperGemmFault fault, const Stream& stream, const HopperGemm& args) {
  with_constant<HopperGemmFault::early_release>(
      fault, [&](auto f) { launch_wgmma_gemm<decltype(f)::value>(stream, args); });
}

}  // namespace mettle::emulation_test
