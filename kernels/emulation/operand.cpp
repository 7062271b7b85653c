// Elements of matrix operands in shared memory.
#include "kernels/emulation/operand.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "engine/half.h"

namespace mettle::emulation {

using dev::Major;
using dev::Swizzle;

namespace {

constexpr int unit_bytes = 16;

std::uintptr_t swizzled_address(std::uintptr_t address, Swizzle swizzle) {
  const auto units = static_cast<std::uintptr_t>(dev::swizzle_width(swizzle) / unit_bytes);
  return address ^ ((address >> 7) & (units - 1)) << 4;
}

}  // namespace

const std::byte* swizzled(const std::byte* at, Swizzle swizzle) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  return at + static_cast<std::ptrdiff_t>(swizzled_address(address, swizzle) - address);
}

std::byte* swizzled(std::byte* at, Swizzle swizzle) {
  return const_cast<std::byte*>(swizzled(static_cast<const std::byte*>(at), swizzle));
}

float matrix_value(MatrixType type, std::uint32_t bits) {
  switch (type) {
    case MatrixType::tf32: break;
    case MatrixType::bf16: return std::bit_cast<float>(bits << 16);
    case MatrixType::f16: {
      f16 value;
      value.bits = static_cast<std::uint16_t>(bits);
      return value;
    }
  }
  return std::bit_cast<float>(bits & 0xffffe000u);
}

Operand::Operand(const SharedMatrix& matrix, Major major, MatrixType type, int extent)
    : matrix_(matrix),
      major_(major),
      type_(type),
      extent_(extent),
      size_(type == MatrixType::tf32 ? 4 : 2) {}

const char* Operand::fault() const {
  const auto start = reinterpret_cast<std::uintptr_t>(matrix_.start);
  const auto width = static_cast<std::uintptr_t>(dev::swizzle_width(matrix_.swizzle));
  const auto fits = [](int offset) {
    return offset >= 0 && offset < 1 << 18 && offset % unit_bytes == 0;
  };
  if (start % unit_bytes != 0) return "its start is no multiple of 16 bytes";
  if (!fits(matrix_.leading_bytes) || !fits(matrix_.stride_bytes))
    return "its offsets are no multiples of 16 from 0 to 2^18";
  if (matrix_.swizzle == Swizzle::none) return nullptr;
  const std::uintptr_t in_pattern = start % (8 * width);
  if (in_pattern >= width) return "it starts in the middle of a pattern of its swizzle";
  const auto row = major_ == Major::k
                       ? std::uintptr_t{32}
                       : std::min(static_cast<std::uintptr_t>(extent_ * size_), width);
  return in_pattern + row > width ? "its rows go beyond the width of its swizzle" : nullptr;
}

int Operand::offset(int i, int k) const {
  const int unit = unit_bytes / size_, leading = matrix_.leading_bytes,
            stride = matrix_.stride_bytes;
  const int width = dev::swizzle_width(matrix_.swizzle), across = width / size_;
  if (major_ == Major::k) {
    const int row = i % 8 * width + i / 8 * stride;
    return matrix_.swizzle == Swizzle::none ? row + k % unit * size_ + k / unit * leading
                                            : row + k * size_;
  }
  const int in_pattern = i % across * size_ + k % 8 * width;
  return matrix_.swizzle == Swizzle::none ? in_pattern + i / across * stride + k / 8 * leading
                                          : in_pattern + i / across * leading + k / 8 * stride;
}

float Operand::value(int i, int k) const {
  std::uint32_t bits = 0;
  std::memcpy(&bits, at(i, k), static_cast<std::size_t>(size_));
  return matrix_value(type_, bits);
}

}  // namespace mettle::emulation
