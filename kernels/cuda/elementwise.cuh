// Elementwise maps: y[i] = f(x0[i], x1[i], ...), y dense.
//
// Limited by memory: N + 1 elements move for each result. A thread keeps several packs of 16 bytes
// per operand in flight (32 N bytes; at 2048 threads on a processor 64 N KB, where a Hopper GPU
// needs about 25 KB to hide its latency) and stores packs. Operands that repeat along the last axis
// (scalars, columns) are read as one element; rows that repeat along the others come from the
// caches. Strided operands are read one element per thread, neighbours by neighbouring threads.
#pragma once

#include "engine/dtype.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/scalar_functions.h"

namespace mettle::kernels::cuda {

inline constexpr int map_threads = 256;

/// The type in which an element is computed: exact for every value of T.
template <class T>
using computed_t = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

template <class T> METTLE_DEVICE computed_t<T> widen(T x) {
  if constexpr (std::is_same_v<T, computed_t<T>>)
    return x;
  else
    return dev::to_float(x);
}
template <class T> METTLE_DEVICE T narrow(computed_t<T> x) {
  if constexpr (std::is_same_v<T, computed_t<T>>)
    return x;
  else
    return dev::round_to<T>(x);
}

/// Packs that a thread has in flight for each operand.
template <int V> inline constexpr int packs_per_thread = V == 1 ? 4 : 2;

/// Where the packs of N operands lie. step[i] is 0 for an operand that repeats within a pack.
template <int N> struct MapIndex {
  StridedIndex<N> packs;
  std::int64_t elements;
  int step[N];
};
template <class X, int N> struct Pointers { const X* at[N]; };

/// Elements that pack number `pack` has; fewer than V in the last one of a single axis only.
template <int V, int N>
METTLE_DEVICE int elements_of_pack(const MapIndex<N>& index, std::int64_t pack) {
  const std::int64_t left = index.elements - pack * V;
  return left < V ? static_cast<int>(left) : V;
}

template <int V, class X>
METTLE_DEVICE dev::Pack<X, V> load_elements(const X* x, int step, int count) {
  if (step == 1 && count == V) return *reinterpret_cast<const dev::Pack<X, V>*>(x);
  dev::Pack<X, V> pack;
  const X first = x[0];
  METTLE_UNROLL
  for (int v = 0; v < V; ++v) {
    pack.at[v] = first;
    if (step == 1 && v > 0 && v < count) pack.at[v] = x[v];
  }
  return pack;
}

template <int V, class Y>
METTLE_DEVICE void store_elements(Y* y, const dev::Pack<Y, V>& pack, int count) {
  if (count == V) {
    *reinterpret_cast<dev::Pack<Y, V>*>(y) = pack;
    return;
  }
  METTLE_UNROLL
  for (int v = 0; v < V; ++v)
    if (v < count) y[v] = pack.at[v];
}

/// f at element `position`, which f takes last if it wants it.
template <class F, class C> METTLE_DEVICE auto apply(const F& f, const C (&x)[1], std::int64_t) {
  return f(x[0]);
}
template <class F, class C>
METTLE_DEVICE auto apply(const F& f, const C (&x)[2], std::int64_t position) {
  if constexpr (std::is_invocable_v<F, C, C, std::int64_t>)
    return f(x[0], x[1], position);
  else
    return f(x[0], x[1]);
}
template <class F, class C> METTLE_DEVICE auto apply(const F& f, const C (&x)[3], std::int64_t) {
  return f(x[0], x[1], x[2]);
}

template <int V, int N, class F, class X, class Y>
METTLE_GLOBAL(map_threads)
void map_kernel(F f, Pointers<X, N> x, Y* y, MapIndex<N> index) {
  constexpr int packs = packs_per_thread<V>;
  const std::int64_t first =
      std::int64_t{dev::block_index().x} * (packs * map_threads) + dev::thread_index().x;
  dev::Pack<X, V> in[packs][N];
  METTLE_UNROLL
  for (int k = 0; k < packs; ++k) {
    const std::int64_t pack = first + k * map_threads;
    if (pack >= index.packs.total) continue;
    std::int64_t at[N];
    index.packs.offsets(pack, at);
    METTLE_UNROLL
    for (int i = 0; i < N; ++i)
      in[k][i] = load_elements<V>(x.at[i] + at[i], index.step[i], elements_of_pack<V>(index, pack));
  }
  METTLE_UNROLL
  for (int k = 0; k < packs; ++k) {
    const std::int64_t pack = first + k * map_threads;
    if (pack >= index.packs.total) continue;
    dev::Pack<Y, V> out;
    METTLE_UNROLL
    for (int v = 0; v < V; ++v) {
      computed_t<X> element[N];
      METTLE_UNROLL
      for (int i = 0; i < N; ++i) element[i] = widen(in[k][i].at[v]);
      out.at[v] = narrow<Y>(apply(f, element, pack * V + v));
    }
    store_elements<V>(y + pack * V, out, elements_of_pack<V>(index, pack));
  }
}

/// y = condition ? a : b, on the elements' bits.
template <int V, class T>
METTLE_GLOBAL(map_threads)
void where_kernel(const bool* condition, const T* a, const T* b, T* y, MapIndex<3> index) {
  constexpr int packs = packs_per_thread<V>;
  const std::int64_t first =
      std::int64_t{dev::block_index().x} * (packs * map_threads) + dev::thread_index().x;
  dev::Pack<bool, V> which[packs];
  dev::Pack<T, V> in[packs][2];
  METTLE_UNROLL
  for (int k = 0; k < packs; ++k) {
    const std::int64_t pack = first + k * map_threads;
    if (pack >= index.packs.total) continue;
    const int count = elements_of_pack<V>(index, pack);
    std::int64_t at[3];
    index.packs.offsets(pack, at);
    which[k] = load_elements<V>(condition + at[0], index.step[0], count);
    in[k][0] = load_elements<V>(a + at[1], index.step[1], count);
    in[k][1] = load_elements<V>(b + at[2], index.step[2], count);
  }
  METTLE_UNROLL
  for (int k = 0; k < packs; ++k) {
    const std::int64_t pack = first + k * map_threads;
    if (pack >= index.packs.total) continue;
    dev::Pack<T, V> out;
    METTLE_UNROLL
    for (int v = 0; v < V; ++v) out.at[v] = which[k].at[v] ? in[k][0].at[v] : in[k][1].at[v];
    store_elements<V>(y + pack * V, out, elements_of_pack<V>(index, pack));
  }
}

/// Division of integers; a zero is reported and gives 0.
template <class T> struct CheckedQuotient {
  FaultReporter fault;
  METTLE_DEVICE T operator()(T a, T b, std::int64_t position) const {
    if (b != 0) return scalar::integer_quotient(a, b);
    report_fault(fault, position, 0);
    return 0;
  }
};

}  // namespace mettle::kernels::cuda
