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

/// Four warps that multiply together, the first one a multiple of four.
inline constexpr int warpgroup_size = 128;

/// How the 16-byte units of a tile in shared memory are permuted, so that rows and columns alike
/// fall into different banks. The tile consists of rows of so many bytes, eight of which make a
/// pattern; it starts at a multiple of the pattern's size. Unit u of row r lies at
/// u xor (r * width / 128 mod width / 16).
enum class Swizzle { none, bytes_32, bytes_64, bytes_128 };

/// Bytes of a row of the pattern; without one, those of a unit.
constexpr int swizzle_width(Swizzle swizzle) { return 16 << static_cast<int>(swizzle); }
/// What a swizzled tile is aligned to. Copies of tensors ask for 128 bytes at least.
constexpr int swizzle_alignment(Swizzle swizzle) {
  return swizzle == Swizzle::none ? 128 : 8 * swizzle_width(swizzle);
}

/// Which index of a matrix operand is contiguous: the one that is summed over, or the other.
enum class Major { k, mn };

/// The state of an mbarrier. It lives in shared memory and is touched by mbarrier_*() only.
struct alignas(8) MBarrier {
  std::uint64_t opaque;
};

}  // namespace mettle::dev
