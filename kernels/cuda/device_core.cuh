// The device vocabulary under nvcc: threads, barriers, warps, shared memory, atomics, mathematics.
// Twin of kernels/emulation/device_core.h; meant to be included through device.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/half.h"
#include "kernels/cuda/device_types.cuh"

// A kernel for blocks of at most so many threads: METTLE_GLOBAL(256) void name(...) { ... }. A
// second number is how many blocks a multiprocessor shall hold at least; it bounds the registers,
// and lower_registers() and raise_registers() do nothing without it. Even a 1 matters: without a
// number the compiler may spill to make room for another block.
#define METTLE_GLOBAL(...) __global__ __launch_bounds__(__VA_ARGS__)
#define METTLE_DEVICE __device__ __forceinline__
#define METTLE_UNROLL _Pragma("unroll")
// T* name: `count` elements that the block shares. Raw bytes, because shared variables are not
// initialised and types with default values would ask for it.
#define METTLE_SHARED(T, name, count)                                                     \
  __shared__ __align__(                                                                   \
      alignof(T) < 16 ? 16 : alignof(T)) unsigned char name##_bytes[sizeof(T) * (count)]; \
  T* const name = reinterpret_cast<T*>(name##_bytes)

namespace mettle::dev {

/// The line of the kernel that a word is called from; known to the emulation only.
struct Where {
  METTLE_DEVICE static Where current() { return {}; }
};

// ---- who am I -----------------------------------------------------------------------------------
METTLE_DEVICE Dim3 thread_index() {
  return {static_cast<int>(threadIdx.x), static_cast<int>(threadIdx.y),
          static_cast<int>(threadIdx.z)};
}
METTLE_DEVICE Dim3 block_index() {
  return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
}
METTLE_DEVICE Dim3 block_size() {
  return {static_cast<int>(blockDim.x), static_cast<int>(blockDim.y), static_cast<int>(blockDim.z)};
}
METTLE_DEVICE Dim3 grid_size() {
  return {static_cast<int>(gridDim.x), static_cast<int>(gridDim.y), static_cast<int>(gridDim.z)};
}
/// Number of the thread in its block, x fastest; warps are 32 neighbours in this order.
METTLE_DEVICE int thread_rank() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
METTLE_DEVICE int lane_index() { return thread_rank() % warp_size; }
METTLE_DEVICE int warp_index() { return thread_rank() / warp_size; }

// ---- barriers and fences ------------------------------------------------------------------------
/// All threads of the block; one barrier per line of source.
METTLE_DEVICE void sync_block() { __syncthreads(); }
/// The same, and whether any, whether every, and how many threads voted.
METTLE_DEVICE bool sync_block_or(bool vote) { return __syncthreads_or(vote) != 0; }
METTLE_DEVICE bool sync_block_and(bool vote) { return __syncthreads_and(vote) != 0; }
METTLE_DEVICE int sync_block_count(bool vote) { return __syncthreads_count(vote); }
/// Named barrier 1 to 15 of `threads` threads, whole warps. Who arrives does not wait.
METTLE_DEVICE void sync_named(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
METTLE_DEVICE void arrive_named(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/// The lanes of the mask wait for each other and see each other's writes.
METTLE_DEVICE void sync_warp(std::uint32_t mask = full_warp) { __syncwarp(mask); }
/// Orders this thread's accesses, before an atomic that publishes them and after one that finds
/// them.
METTLE_DEVICE void fence_block() { __threadfence_block(); }
METTLE_DEVICE void fence_device() { __threadfence(); }

// ---- shuffles and votes -------------------------------------------------------------------------
// All lanes of the mask on the same line; they order no memory. Values of 1 to 8 bytes.

namespace detail {

template <class T>
using ShuffleBits = std::conditional_t<sizeof(T) <= 4, std::uint32_t, unsigned long long>;

template <class T> METTLE_DEVICE ShuffleBits<T> bits_to_shuffle(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  ShuffleBits<T> bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T> METTLE_DEVICE T shuffled(ShuffleBits<T> bits) {
  T value;
  memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace detail

/// The value of `lane` of the segment of `width` lanes.
template <class T>
METTLE_DEVICE T shuffle(std::uint32_t mask, T value, int lane, int width = warp_size,
                        Where = Where::current()) {
  return detail::shuffled<T>(__shfl_sync(mask, detail::bits_to_shuffle(value), lane, width));
}
/// The value `distance` lanes below; at the segment's start the own value.
template <class T>
METTLE_DEVICE T shuffle_up(std::uint32_t mask, T value, int distance, int width = warp_size,
                           Where = Where::current()) {
  const auto bits = detail::bits_to_shuffle(value);
  return detail::shuffled<T>(__shfl_up_sync(mask, bits, static_cast<unsigned>(distance), width));
}
/// The value `distance` lanes above; at the segment's end the own value.
template <class T>
METTLE_DEVICE T shuffle_down(std::uint32_t mask, T value, int distance, int width = warp_size,
                             Where = Where::current()) {
  const auto bits = detail::bits_to_shuffle(value);
  return detail::shuffled<T>(__shfl_down_sync(mask, bits, static_cast<unsigned>(distance), width));
}
/// The value of the lane whose number differs in the bits of `lanes`.
template <class T>
METTLE_DEVICE T shuffle_xor(std::uint32_t mask, T value, int lanes, int width = warp_size,
                            Where = Where::current()) {
  return detail::shuffled<T>(__shfl_xor_sync(mask, detail::bits_to_shuffle(value), lanes, width));
}
/// Bit l: the vote of lane l.
METTLE_DEVICE std::uint32_t ballot(std::uint32_t mask, bool vote) {
  return __ballot_sync(mask, vote);
}
METTLE_DEVICE bool any_lane(std::uint32_t mask, bool vote) { return __any_sync(mask, vote) != 0; }
METTLE_DEVICE bool all_lanes(std::uint32_t mask, bool vote) { return __all_sync(mask, vote) != 0; }

// ---- dynamic shared memory ----------------------------------------------------------------------
/// Hands out the launch's dynamic shared memory, each part aligned to 128 bytes or to what is asked
/// for. Every thread takes the same parts in the same order.
class SharedCarver {
 public:
  template <class T, int alignment = 128> METTLE_DEVICE T* take(int count) {
    static_assert(alignment >= 128 && alignment <= 1024 && (alignment & (alignment - 1)) == 0);
    offset_ = (offset_ + alignment - 1) / alignment * alignment;
    T* array = reinterpret_cast<T*>(memory<(alignment > 128)>() + offset_);
    offset_ += sizeof(T) * static_cast<std::size_t>(count);
    return array;
  }

 private:
  // One memory under two names. Declared here, because at namespace scope its alignment would cost
  // kernels that use none.
  template <bool aligned> METTLE_DEVICE static unsigned char* memory() {
    if constexpr (aligned) {
      extern __shared__ __align__(1024) unsigned char mettle_aligned_dynamic_shared[];
      return mettle_aligned_dynamic_shared;
    } else {
      extern __shared__ __align__(128) unsigned char mettle_dynamic_shared[];
      return mettle_dynamic_shared;
    }
  }

  std::size_t offset_ = 0;
};

// ---- atomics ------------------------------------------------------------------------------------
// Relaxed, on the whole device; each returns the value before. T is an integer of 4 or 8 bytes, for
// atomic_add and atomic_exchange float as well, for atomic_add double.

namespace detail {

template <class T>
using AtomicWord = std::conditional_t<
    !std::is_integral_v<T>, T,
    std::conditional_t<sizeof(T) == 8,
                       std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>,
                       std::conditional_t<std::is_signed_v<T>, int, unsigned>>>;
// Addition, exchange and comparison do not ask for the sign, and CUDA has them without.
template <class T>
using UnsignedWord =
    std::conditional_t<!std::is_integral_v<T>, T,
                       std::conditional_t<sizeof(T) == 8, unsigned long long, unsigned>>;

}  // namespace detail

template <class T> METTLE_DEVICE T atomic_add(T* at, std::type_identity_t<T> value) {
  using Word = detail::UnsignedWord<T>;
  return static_cast<T>(atomicAdd(reinterpret_cast<Word*>(at), static_cast<Word>(value)));
}
template <class T> METTLE_DEVICE T atomic_min(T* at, std::type_identity_t<T> value) {
  using Word = detail::AtomicWord<T>;
  return static_cast<T>(atomicMin(reinterpret_cast<Word*>(at), static_cast<Word>(value)));
}
template <class T> METTLE_DEVICE T atomic_max(T* at, std::type_identity_t<T> value) {
  using Word = detail::AtomicWord<T>;
  return static_cast<T>(atomicMax(reinterpret_cast<Word*>(at), static_cast<Word>(value)));
}
template <class T> METTLE_DEVICE T atomic_exchange(T* at, std::type_identity_t<T> value) {
  using Word = detail::UnsignedWord<T>;
  return static_cast<T>(atomicExch(reinterpret_cast<Word*>(at), static_cast<Word>(value)));
}
template <class T>
METTLE_DEVICE T atomic_compare_exchange(T* at, std::type_identity_t<T> expected,
                                        std::type_identity_t<T> value) {
  using Word = detail::UnsignedWord<T>;
  return static_cast<T>(atomicCAS(reinterpret_cast<Word*>(at), static_cast<Word>(expected),
                                  static_cast<Word>(value)));
}
/// Values of 4 or 8 bytes: what a store_release() published before is visible after the load that
/// finds its value.
template <class T> METTLE_DEVICE T load_acquire(const T* at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  detail::ShuffleBits<T> bits;
  if constexpr (sizeof(T) == 4)
    asm volatile("ld.acquire.gpu.b32 %0, [%1];" : "=r"(bits) : "l"(at) : "memory");
  else
    asm volatile("ld.acquire.gpu.b64 %0, [%1];" : "=l"(bits) : "l"(at) : "memory");
  return detail::shuffled<T>(bits);
}
template <class T> METTLE_DEVICE void store_release(T* at, std::type_identity_t<T> value) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  const auto bits = detail::bits_to_shuffle(value);
  if constexpr (sizeof(T) == 4)
    asm volatile("st.release.gpu.b32 [%0], %1;" ::"l"(at), "r"(bits) : "memory");
  else
    asm volatile("st.release.gpu.b64 [%0], %1;" ::"l"(at), "l"(bits) : "memory");
}

// ---- mathematics --------------------------------------------------------------------------------
// "fast" ones are within a few units of the last place of f32; the rest are correctly rounded or
// CUDA's own.

METTLE_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
METTLE_DEVICE float fast_exp(float x) { return __expf(x); }
METTLE_DEVICE float fast_log(float x) { return __logf(x); }
METTLE_DEVICE float fast_divide(float x, float y) { return __fdividef(x, y); }
METTLE_DEVICE float reciprocal_sqrt(float x) { return rsqrtf(x); }
METTLE_DEVICE double reciprocal_sqrt(double x) { return rsqrt(x); }
METTLE_DEVICE float maximum(float x, float y) { return fmaxf(x, y); }
METTLE_DEVICE double maximum(double x, double y) { return fmax(x, y); }
METTLE_DEVICE int maximum(int x, int y) { return x < y ? y : x; }
METTLE_DEVICE float minimum(float x, float y) { return fminf(x, y); }
METTLE_DEVICE double minimum(double x, double y) { return fmin(x, y); }
METTLE_DEVICE int minimum(int x, int y) { return y < x ? y : x; }
METTLE_DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
METTLE_DEVICE int count_bits(std::uint32_t bits) { return __popc(bits); }

// ---- numbers as bits and in 16 bits -------------------------------------------------------------
METTLE_DEVICE std::uint32_t bits_of(float x) { return __float_as_uint(x); }
METTLE_DEVICE float float_of(std::uint32_t bits) { return __uint_as_float(bits); }
METTLE_DEVICE float to_float(float x) { return x; }
METTLE_DEVICE float to_float(bf16 x) { return __uint_as_float(std::uint32_t{x.bits} << 16); }
METTLE_DEVICE float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
/// float, bf16 or f16: the nearest, ties to even.
template <class T> METTLE_DEVICE T round_to(float x) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    T y;
    if constexpr (std::is_same_v<T, bf16>)
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    else
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
  }
}
/// Two numbers in one register, `low` in the lower half.
template <class T> METTLE_DEVICE std::uint32_t pack_halves(float low, float high) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace mettle::dev
