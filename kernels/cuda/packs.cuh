// Elements that move together: N of them by one access where they fill 4, 8 or 16 aligned bytes, as
// the type in which kernels compute.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// How many T one 16-byte access moves.
template <class T> inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

/// Whether 16-byte accesses to rows of `row` elements from here on are aligned.
template <class T> bool packs_fit(const void* data, std::int64_t row) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && row % pack_size<T> == 0;
}

/// `from` is aligned to N * sizeof(T).
template <int N, class T> METTLE_DEVICE void load_pack(const T* from, accumulate_t<T> (&to)[N]) {
  const dev::Pack<T, N> pack = *reinterpret_cast<const dev::Pack<T, N>*>(from);
  METTLE_UNROLL
  for (int i = 0; i < N; ++i) {
    if constexpr (sizeof(T) == 2)
      to[i] = dev::to_float(pack.at[i]);
    else
      to[i] = pack.at[i];
  }
}

template <int N, class T> METTLE_DEVICE void store_pack(T* to, const accumulate_t<T> (&from)[N]) {
  dev::Pack<T, N> pack;
  METTLE_UNROLL
  for (int i = 0; i < N; ++i) {
    if constexpr (sizeof(T) == 2)
      pack.at[i] = dev::round_to<T>(from[i]);
    else
      pack.at[i] = from[i];
  }
  *reinterpret_cast<dev::Pack<T, N>*>(to) = pack;
}

/// One element, in the type in which kernels compute.
template <class T> METTLE_DEVICE accumulate_t<T> load_one(const T* from) {
  accumulate_t<T> value[1];
  load_pack<1>(from, value);
  return value[0];
}
template <class T> METTLE_DEVICE void store_one(T* to, accumulate_t<T> value) {
  const accumulate_t<T> one[1] = {value};
  store_pack<1>(to, one);
}

}  // namespace mettle::kernels::cuda
