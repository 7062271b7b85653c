// Matrix instructions on the CPU. Twin of kernels/cuda/device_mma.cuh, which describes each word;
// included through kernels/cuda/device.cuh.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/half.h"
#include "kernels/emulation/device_core.h"
#include "kernels/emulation/runtime.h"

namespace mettle::dev {

template <int Count>
void load_matrices(std::uint32_t (&registers)[Count], const void* row,
                   Where where = Where::current()) {
  static_assert(Count == 1 || Count == 2 || Count == 4);
  emulation::load_matrices(registers, Count, false, row, where);
}
template <int Count>
void load_matrices_transposed(std::uint32_t (&registers)[Count], const void* row,
                              Where where = Where::current()) {
  static_assert(Count == 1 || Count == 2 || Count == 4);
  emulation::load_matrices(registers, Count, true, row, where);
}

/// d += a b for one m16n8k16 tile of bf16 or f16, m16n8k8 of Tf32.
template <class T>
void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                  Where where = Where::current()) {
  using emulation::MatrixType;
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, Tf32>);
  constexpr MatrixType type = std::is_same_v<T, bf16>  ? MatrixType::bf16
                              : std::is_same_v<T, f16> ? MatrixType::f16
                                                       : MatrixType::tf32;
  const std::uint32_t b[2] = {b0, b1};
  emulation::multiply_add(type, d, a, b, where);
}

}  // namespace mettle::dev
