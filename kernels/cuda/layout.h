// Strided operands as plain data for kernels: the collapsed layout (kernels/layout.h) with
// divisions by its extents made multiplications, in 32 bits where every index and offset fits.
#pragma once

#include <bit>
#include <cstdint>

#include "engine/host_device.h"
#include "kernels/layout.h"

namespace mettle::kernels::cuda {

/// Division of numbers below 2^31, or 2^63, by a number that the host knows: a multiplication, an
/// addition and a shift (Granlund and Montgomery, "Division by invariant integers using
/// multiplication", 1994). With s = ceil(log2 d) and m = floor(2^w (2^s - d) / d) + 1 the quotient
/// is (floor(n m / 2^w) + n) / 2^s, for words of w = 32 or 64 bits.
struct Divider {
  std::uint64_t wide = 1;
  std::uint32_t narrow = 1;
  std::int32_t shift = 0;
  std::int64_t divisor = 1;

  Divider() = default;
  explicit Divider(std::int64_t d) : divisor(d) {
    __extension__ using Wide = unsigned __int128;
    const auto u = static_cast<std::uint64_t>(d);
    shift = static_cast<std::int32_t>(std::bit_width(u - 1));
    const Wide over = (Wide{1} << shift) - u;
    wide = static_cast<std::uint64_t>((over << 64) / u + 1);
    narrow = static_cast<std::uint32_t>((over << 32) / u + 1);  // read for d < 2^31 only
  }

  METTLE_HD std::int32_t operator()(std::int32_t n) const {
    const auto u = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>(std::uint64_t{u} * narrow >> 32);
    return static_cast<std::int32_t>((high + u) >> shift);
  }
  METTLE_HD std::int64_t operator()(std::int64_t n) const {
    __extension__ using Wide = unsigned __int128;
    const auto u = static_cast<std::uint64_t>(n);
    const auto high = static_cast<std::uint64_t>(Wide{u} * wide >> 64);
    return static_cast<std::int64_t>((high + u) >> shift);
  }
};

/// Offsets of N operands by the row-major index over their common shape.
template <int N> struct StridedIndex {
  int rank = 0;
  bool narrow = true;  // every index and every offset is below 2^31
  std::int64_t total = 1;
  Divider shape[max_rank];
  std::int64_t strides[N][max_rank];

  METTLE_HD void offsets(std::int64_t index, std::int64_t (&at)[N]) const {
    if (narrow) {
      std::int32_t sums[N];
      walk(static_cast<std::int32_t>(index), sums);
      for (int i = 0; i < N; ++i) at[i] = sums[i];
    } else {
      walk(index, at);
    }
  }
  METTLE_HD std::int64_t offset(std::int64_t index) const {
    std::int64_t at[N];
    offsets(index, at);
    return at[0];
  }

 private:
  template <class I> METTLE_HD void walk(I index, I (&at)[N]) const {
    for (int i = 0; i < N; ++i) at[i] = 0;
    for (int axis = rank - 1; axis > 0; --axis) {
      const I rest = shape[axis](index);
      const I here = index - rest * static_cast<I>(shape[axis].divisor);
      for (int i = 0; i < N; ++i) at[i] += here * static_cast<I>(strides[i][axis]);
      index = rest;
    }
    if (rank > 0)
      for (int i = 0; i < N; ++i) at[i] += index * static_cast<I>(strides[i][0]);
  }
};

template <int N> StridedIndex<N> strided_index(const Layout<N>& l) {
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  StridedIndex<N> out;
  out.rank = l.rank;
  out.total = l.total;
  out.narrow = l.total < limit;
  for (int i = 0; i < N; ++i) {
    std::int64_t reach = 0;
    for (int axis = 0; axis < max_rank; ++axis) {
      const bool used = axis < l.rank;
      out.strides[i][axis] = used ? l.strides[i][axis] : 0;
      if (!used) continue;
      const std::int64_t stride = l.strides[i][axis] < 0 ? -l.strides[i][axis] : l.strides[i][axis];
      if (l.shape[axis] > 0) reach += (l.shape[axis] - 1) * stride;
    }
    out.narrow = out.narrow && reach < limit;
  }
  for (int axis = 0; axis < l.rank; ++axis)
    if (l.shape[axis] > 0) out.shape[axis] = Divider(l.shape[axis]);
  return out;
}

/// Whether operand i can be read in packs of `pack` neighbours along the last axis: neighbours in
/// memory that start at multiples of a pack, or one element for all.
template <int N>
bool runs_in_packs(const Layout<N>& l, int i, int pack, const void* data, std::size_t element) {
  if (l.rank == 0) return false;
  const std::int64_t step = l.strides[i][l.rank - 1];
  if (step == 0) return true;
  if (step != 1) return false;
  for (int axis = 0; axis + 1 < l.rank; ++axis)
    if (l.strides[i][axis] % pack != 0) return false;
  return reinterpret_cast<std::uintptr_t>(data) % (static_cast<std::size_t>(pack) * element) == 0;
}

/// The same layout counted in packs along the last axis, the last of which may be short where there
/// is one axis only.
template <int N> Layout<N> in_packs(Layout<N> l, int pack) {
  const int last = l.rank - 1;
  l.total = l.rank == 1 ? (l.total + pack - 1) / pack : l.total / pack;
  l.shape[last] = (l.shape[last] + pack - 1) / pack;
  for (int i = 0; i < N; ++i) l.strides[i][last] *= pack;
  return l;
}

}  // namespace mettle::kernels::cuda
