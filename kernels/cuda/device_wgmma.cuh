// Matrix multiplication by warpgroups under nvcc: wgmma.mma_async and setmaxnreg, compute
// capability 9.0a only; kernels that use them compile for others but trap there. Twin of
// kernels/emulation/device_wgmma.h; meant to be included through device.cuh.
//
// A batch of multiplies, each 64 x n x 16 (Tf32: x 8), by all 128 threads of a warpgroup:
//
//   fence_multiplies(d);                  // d and fragments of A in registers are as written
//   multiply_add_async<bf16>(d, a, b);    // ... and more of them
//   commit_multiplies();
//   wait_multiplies<0>(d);                // d may be read
//
// Between issue and wait nobody writes a and b in shared memory, and nobody touches d. What plain
// stores wrote there needs fence_async_proxy() and a barrier before the issue.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/half.h"
#include "kernels/cuda/device_async.cuh"
#include "kernels/cuda/device_core.cuh"
#include "kernels/cuda/device_wgmma_operands.cuh"

namespace mettle::dev {

/// Where an operand lies in shared memory. Only passed on; kernels look at nothing in it.
struct SharedMatrix {
  std::uint64_t descriptor;
};

/// A matrix operand of 16-byte units at `start`, with T = 16 / sizeof(element) elements in a unit
/// and W = swizzle_width(swizzle) bytes in a row of the pattern. Bytes from element (0, 0) to (i,
/// k), before the swizzle, where i counts rows of A or columns of B:
///
///   Major::k,  none      i % 8 * 16 + i / 8 * stride + k % T * size + k / T * leading
///   Major::k,  swizzled  i % 8 * W  + i / 8 * stride + k * size                 (leading: unused)
///   Major::mn, none      i % T * size + i / T * stride + k % 8 * 16 + k / 8 * leading
///   Major::mn, swizzled  i % (W / size) * size + i / (W / size) * leading + k % 8 * W + k / 8 *
///                        stride
///
/// Swizzled tiles are aligned to swizzle_alignment(). Offsets are multiples of 16 below 2^18.
/// (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout".)
template <Swizzle swizzle>
METTLE_DEVICE SharedMatrix shared_matrix(const void* start, int leading_bytes, int stride_bytes) {
  constexpr std::uint64_t codes[] = {0, 3, 2, 1};
  constexpr std::uint64_t code = codes[static_cast<int>(swizzle)];
  const std::uint64_t at = detail::shared_address(start);
  return {(at & 0x3ffff) >> 4 | static_cast<std::uint64_t>(leading_bytes >> 4) << 16 |
          static_cast<std::uint64_t>(stride_bytes >> 4) << 32 | code << 62};
}

/// The operand that starts `bytes` later, a multiple of 16: the next 16 of k in the rows of a
/// swizzled tile are 32 bytes away.
METTLE_DEVICE SharedMatrix advance(SharedMatrix matrix, int bytes) {
  return {matrix.descriptor + static_cast<std::uint64_t>(bytes >> 4)};
}

namespace detail {

// Makes the compiler take registers as read and written here: it does not know that instructions
// which are under way use them.
template <class T> METTLE_DEVICE void pin(T& registers) {
  if constexpr (std::is_array_v<T>) {
    METTLE_UNROLL
    for (int i = 0; i < static_cast<int>(std::extent_v<T>); ++i) pin(registers[i]);
  } else if constexpr (std::is_same_v<T, float>) {
    asm volatile("" : "+f"(registers)::"memory");
  } else {
    static_assert(std::is_same_v<T, std::uint32_t>, "accumulators or fragments");
    asm volatile("" : "+r"(registers)::"memory");
  }
}

METTLE_DEVICE void fence_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  __trap();
#endif
}

template <int GroupsLeft> METTLE_DEVICE void wait_groups() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GroupsLeft) : "memory");
#else
  __trap();
#endif
}

}  // namespace detail

/// Before a batch: names the accumulators, unless they are under way, and the fragments of A in
/// registers that its multiplies are going to use.
template <class A> METTLE_DEVICE void fence_multiplies(A& a, Where = Where::current()) {
  detail::pin(a);
  detail::fence_registers();
}
template <class A, class B>
METTLE_DEVICE void fence_multiplies(A& a, B& b, Where where = Where::current()) {
  detail::pin(b);
  fence_multiplies(a, where);
}
template <class A, class B, class C>
METTLE_DEVICE void fence_multiplies(A& a, B& b, C& c, Where where = Where::current()) {
  detail::pin(c);
  fence_multiplies(a, b, where);
}

/// Ends a group of multiplies.
METTLE_DEVICE void commit_multiplies() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  __trap();
#endif
}

/// Until at most this many of the latest groups are under way. Names the accumulators that may be
/// read after it.
template <int GroupsLeft> METTLE_DEVICE void wait_multiplies(Where = Where::current()) {
  detail::wait_groups<GroupsLeft>();
}
template <int GroupsLeft, class A>
METTLE_DEVICE void wait_multiplies(A& a, Where = Where::current()) {
  detail::wait_groups<GroupsLeft>();
  detail::pin(a);
}
template <int GroupsLeft, class A, class B>
METTLE_DEVICE void wait_multiplies(A& a, B& b, Where where = Where::current()) {
  wait_multiplies<GroupsLeft>(a, where);
  detail::pin(b);
}

// clang-format off
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// A from shared memory: the operands behind the accumulators are a, b, add, transpose a and b.
#define METTLE_WGMMA_SHARED(n, groups, type, i0, i1, i2, i3, i4, ...)                             \
  if constexpr (size == n)                                                                        \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #i2 ", 0;\n"                                  \
                 "  wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type                         \
                 " {" METTLE_REGISTERS_##groups "}, %" #i0 ", %" #i1                              \
                 ", p, 1, 1, %" #i3 ", %" #i4 "; }"                                               \
                 : METTLE_OPERANDS_##groups                                                       \
                 : "l"(a.descriptor), "l"(b.descriptor), "r"(keep), "n"(transpose_a),             \
                   "n"(transpose_b));
// A from registers: a0 to a3, b, add, transpose b.
#define METTLE_WGMMA_REGISTERS(n, groups, type, i0, i1, i2, i3, i4, i5, i6)                       \
  if constexpr (size == n)                                                                        \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #i5 ", 0;\n"                                  \
                 "  wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type                         \
                 " {" METTLE_REGISTERS_##groups "}, {%" #i0 ", %" #i1 ", %" #i2 ", %" #i3         \
                 "}, %" #i4 ", p, 1, 1, %" #i6 "; }"                                              \
                 : METTLE_OPERANDS_##groups                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "r"(keep),      \
                   "n"(transpose_b));
// tf32: k is 8, and both operands are Major::k.
#define METTLE_WGMMA_SHARED_TF32(n, groups, i0, i1, i2, ...)                                      \
  if constexpr (size == n)                                                                        \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #i2 ", 0;\n"                                  \
                 "  wgmma.mma_async.sync.aligned.m64n" #n "k8.f32.tf32.tf32"                      \
                 " {" METTLE_REGISTERS_##groups "}, %" #i0 ", %" #i1 ", p, 1, 1; }"               \
                 : METTLE_OPERANDS_##groups                                                       \
                 : "l"(a.descriptor), "l"(b.descriptor), "r"(keep));
#define METTLE_WGMMA_REGISTERS_TF32(n, groups, i0, i1, i2, i3, i4, i5, ...)                       \
  if constexpr (size == n)                                                                        \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #i5 ", 0;\n"                                  \
                 "  wgmma.mma_async.sync.aligned.m64n" #n "k8.f32.tf32.tf32"                      \
                 " {" METTLE_REGISTERS_##groups "}, {%" #i0 ", %" #i1 ", %" #i2 ", %" #i3         \
                 "}, %" #i4 ", p, 1, 1; }"                                                        \
                 : METTLE_OPERANDS_##groups                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "r"(keep));

#define METTLE_SHARED_BF16(n, g, ...) METTLE_WGMMA_SHARED(n, g, "bf16.bf16", __VA_ARGS__)
#define METTLE_SHARED_F16(n, g, ...) METTLE_WGMMA_SHARED(n, g, "f16.f16", __VA_ARGS__)
#define METTLE_REGISTERS_BF16(n, g, ...) METTLE_WGMMA_REGISTERS(n, g, "bf16.bf16", __VA_ARGS__)
#define METTLE_REGISTERS_F16(n, g, ...) METTLE_WGMMA_REGISTERS(n, g, "f16.f16", __VA_ARGS__)
#endif
// clang-format on

/// d (64, n) += a (64, k) b (k, n), for n = 8 to 256 in steps of 8, T being bf16 or f16 with k = 16
/// or Tf32 with k = 8; without `add`, d = a b. Element i of d in lane l of warp w of the warpgroup
/// is row 16 w + l / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (l % 4) + i % 2. Tf32 takes Major::k
/// only.
template <class T, Major major_b = Major::k, Major major_a = Major::k, int Accumulators>
METTLE_DEVICE void multiply_add_async(float (&d)[Accumulators], SharedMatrix a, SharedMatrix b,
                                      bool add = true, Where = Where::current()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, Tf32>);
  static_assert(Accumulators % 4 == 0 && Accumulators <= 128, "n / 2 accumulators per thread");
  static_assert(!std::is_same_v<T, Tf32> || (major_a == Major::k && major_b == Major::k));
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int size = 2 * Accumulators;
  [[maybe_unused]] constexpr int transpose_a = major_a == Major::mn,
                                 transpose_b = major_b == Major::mn;
  const int keep = add;
  if constexpr (std::is_same_v<T, bf16>) {
    METTLE_WGMMA_SIZES(METTLE_SHARED_BF16)
  } else if constexpr (std::is_same_v<T, f16>) {
    METTLE_WGMMA_SIZES(METTLE_SHARED_F16)
  } else {
    METTLE_WGMMA_SIZES(METTLE_WGMMA_SHARED_TF32)
  }
#else
  __trap();
#endif
}

/// The same with A in registers: those of warp w are rows 16 w to 16 w + 15, laid out as the a of
/// multiply_add(). They stay as they are until the wait.
template <class T, Major major_b = Major::k, int Accumulators>
METTLE_DEVICE void multiply_add_async(float (&d)[Accumulators], const std::uint32_t (&a)[4],
                                      SharedMatrix b, bool add = true, Where = Where::current()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, Tf32>);
  static_assert(Accumulators % 4 == 0 && Accumulators <= 128, "n / 2 accumulators per thread");
  static_assert(!std::is_same_v<T, Tf32> || major_b == Major::k);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int size = 2 * Accumulators;
  [[maybe_unused]] constexpr int transpose_b = major_b == Major::mn;
  const int keep = add;
  if constexpr (std::is_same_v<T, bf16>) {
    METTLE_WGMMA_SIZES(METTLE_REGISTERS_BF16)
  } else if constexpr (std::is_same_v<T, f16>) {
    METTLE_WGMMA_SIZES(METTLE_REGISTERS_F16)
  } else {
    METTLE_WGMMA_SIZES(METTLE_WGMMA_REGISTERS_TF32)
  }
#else
  __trap();
#endif
}

/// Every thread of a warpgroup: its registers become so many, 24 to 256 in steps of 8. Who raises
/// waits until others have given up enough. Ignored unless METTLE_GLOBAL has its second number.
template <int Registers> METTLE_DEVICE void raise_registers() {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  __trap();
#endif
}
template <int Registers> METTLE_DEVICE void lower_registers() {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  __trap();
#endif
}

}  // namespace mettle::dev
