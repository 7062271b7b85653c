// Matrix multiplication by warpgroups on the CPU. Twin of kernels/cuda/device_wgmma.cuh, which
// describes each word; included through kernels/cuda/device.cuh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/half.h"
#include "kernels/emulation/device_core.h"
#include "kernels/emulation/runtime.h"

namespace mettle::dev {

using SharedMatrix = emulation::SharedMatrix;

template <Swizzle swizzle>
SharedMatrix shared_matrix(const void* start, int leading_bytes, int stride_bytes) {
  return {static_cast<const std::byte*>(start), leading_bytes, stride_bytes, swizzle};
}
inline SharedMatrix advance(SharedMatrix matrix, int bytes) {
  matrix.start += bytes;
  return matrix;
}

namespace detail {

template <class T> emulation::Registers registers_of(T& registers) {
  using Element = std::remove_all_extents_t<T>;
  static_assert(std::is_same_v<Element, float> || std::is_same_v<Element, std::uint32_t>,
                "accumulators or fragments");
  return {&registers, sizeof(T)};
}

template <class T> constexpr emulation::MatrixType matrix_type() {
  using emulation::MatrixType;
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, Tf32>);
  return std::is_same_v<T, bf16>  ? MatrixType::bf16
         : std::is_same_v<T, f16> ? MatrixType::f16
                                  : MatrixType::tf32;
}

}  // namespace detail

template <class A> void fence_multiplies(A& a, Where where = Where::current()) {
  emulation::fence_multiplies({detail::registers_of(a)}, where);
}
template <class A, class B> void fence_multiplies(A& a, B& b, Where where = Where::current()) {
  emulation::fence_multiplies({detail::registers_of(a), detail::registers_of(b)}, where);
}
template <class A, class B, class C>
void fence_multiplies(A& a, B& b, C& c, Where where = Where::current()) {
  emulation::fence_multiplies(
      {detail::registers_of(a), detail::registers_of(b), detail::registers_of(c)}, where);
}

inline void commit_multiplies(Where where = Where::current()) {
  emulation::commit_multiplies(where);
}

template <int GroupsLeft> void wait_multiplies(Where where = Where::current()) {
  emulation::wait_multiplies(GroupsLeft, {}, where);
}
template <int GroupsLeft, class A> void wait_multiplies(A& a, Where where = Where::current()) {
  emulation::wait_multiplies(GroupsLeft, {detail::registers_of(a)}, where);
}
template <int GroupsLeft, class A, class B>
void wait_multiplies(A& a, B& b, Where where = Where::current()) {
  emulation::wait_multiplies(GroupsLeft, {detail::registers_of(a), detail::registers_of(b)}, where);
}

template <class T, Major major_b = Major::k, Major major_a = Major::k, int Accumulators>
void multiply_add_async(float (&d)[Accumulators], SharedMatrix a, SharedMatrix b, bool add = true,
                        Where where = Where::current()) {
  static_assert(Accumulators % 4 == 0 && Accumulators <= 128, "n / 2 accumulators per thread");
  static_assert(!std::is_same_v<T, Tf32> || (major_a == Major::k && major_b == Major::k));
  emulation::multiply_async(
      {detail::matrix_type<T>(), 2 * Accumulators, major_a, major_b, add, a, b, nullptr, d}, where);
}

template <class T, Major major_b = Major::k, int Accumulators>
void multiply_add_async(float (&d)[Accumulators], const std::uint32_t (&a)[4], SharedMatrix b,
                        bool add = true, Where where = Where::current()) {
  static_assert(Accumulators % 4 == 0 && Accumulators <= 128, "n / 2 accumulators per thread");
  static_assert(!std::is_same_v<T, Tf32> || major_b == Major::k);
  emulation::multiply_async(
      {detail::matrix_type<T>(), 2 * Accumulators, Major::k, major_b, add, {}, b, a, d}, where);
}

// The emulation has registers enough.
template <int Registers> void raise_registers() {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
}
template <int Registers> void lower_registers() {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
}

}  // namespace mettle::dev
