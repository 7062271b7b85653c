// Plain types and limits of the device vocabulary, the same for every compiler and for host code
// that launches kernels. No CUDA toolkit is needed to include this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mettle::dev {

inline constexpr int warp_size = 32;
inline constexpr std::uint32_t full_warp = 0xffffffffu;

/// What every supported GPU (compute capability 8.0 and up) grants a block; the launch checks it.
inline constexpr int max_block_threads = 1024;
/// Static and dynamic shared memory of a block on Hopper, in bytes (227 KiB).
inline constexpr std::size_t max_shared_bytes = 232448;

/// A size or a place in a grid or a block; x runs fastest.
struct Dim3 {
  int x = 1;
  int y = 1;
  int z = 1;

  friend constexpr bool operator==(const Dim3&, const Dim3&) = default;
};

/// How a kernel is launched.
struct LaunchShape {
  Dim3 grid;                     // blocks; y and z at most 65535
  Dim3 block;                    // threads, at most 1024, z at most 64
  std::size_t shared_bytes = 0;  // dynamic shared memory, what SharedCarver hands out
};

/// N values that move together, by one instruction when they fill 4, 8 or 16 bytes.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
using Float2 = Pack<float, 2>;
using Float4 = Pack<float, 4>;

/// Names the matrix instructions on f32 that look at 10 bits of the mantissa.
struct Tf32;

/// The state of an mbarrier. It lives in shared memory and is touched by mbarrier_*() only.
struct alignas(8) MBarrier {
  std::uint64_t opaque;
};

}  // namespace mettle::dev
