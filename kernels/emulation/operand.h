// A matrix operand of wgmma in shared memory: where each element is, by the canonical layouts of
// the PTX ISA ("Asynchronous Warpgroup Level Matrix Shared Memory Layout"), which
// kernels/cuda/device_wgmma.cuh writes out.
#pragma once

#include <cstddef>

#include "kernels/emulation/runtime.h"

namespace mettle::emulation {

/// The address with the bits that the hardware permutes permuted: units of 16 bytes move within
/// their row by the number of the row in the pattern.
const std::byte* swizzled(const std::byte* at, dev::Swizzle swizzle);
std::byte* swizzled(std::byte* at, dev::Swizzle swizzle);

class Operand {
 public:
  /// `extent` rows of A or columns of B, k as deep as the instruction.
  Operand(const SharedMatrix& matrix, dev::Major major, MatrixType type, int extent);

  /// What the hardware would not understand; null when nothing is wrong.
  const char* fault() const;
  /// Element (i, k).
  const std::byte* at(int i, int k) const {
    return swizzled(matrix_.start + offset(i, k), matrix_.swizzle);
  }
  float value(int i, int k) const;
  int depth() const { return 32 / size_; }

  /// Calls f with the address of every 16 bytes that hold elements of rows `first` to `first` +
  /// `count` - 1; both are multiples of 8.
  template <class F> void for_each_unit(int first, int count, F&& f) const {
    const int unit = 16 / size_;
    const bool along_k = major_ == dev::Major::k;
    for (int i = first; i < first + count; i += along_k ? 1 : unit)
      for (int k = 0; k < depth(); k += along_k ? unit : 1) f(at(i, k));
  }

 private:
  int offset(int i, int k) const;

  SharedMatrix matrix_;
  dev::Major major_;
  MatrixType type_;
  int extent_;
  int size_;  // bytes of an element
};

/// An element as the multiply sees it: tf32 has 10 bits of mantissa, and the 13 below them are not
/// looked at.
float matrix_value(MatrixType type, std::uint32_t bits);

}  // namespace mettle::emulation
