// Binary cross-entropy of logits, forward with the gradient in the same pass, backward and double
// backward; kernels/bce_with_logits.h has the formulas and kernels/cpu/bce_with_logits.cpp the
// forms that do not cancel, which stand here too.
//
// Limit: memory. At 16 bits the forward pass reads x and target and writes dx, 6 bytes an element,
// and 2 more with weights; backward 6 to 8, double backward 10 to 14. About 35 instructions an
// element of the 53 that an H100 has time for. Sums: f32 (f64) within a pack of 16 bytes, f64
// above, in a fixed order: thread, warp, block, and a second kernel over the blocks unless there is
// one.
#pragma once

#include <cstdint>

#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/column_tile.cuh"
#include "kernels/cuda/special_functions.cuh"

namespace mettle::kernels::cuda {

struct BceTile {
  static constexpr int threads = 256;
};

/// kernels/bce_with_logits.h describes the operands.
template <class T> struct BceElements {
  using A = accumulate_t<T>;
  std::int64_t n;
  A p;      // pos_weight
  A boost;  // pos_weight - 1
  bool reduced;
  double share;  // of one element's loss in the reduced loss
  const T* x;
  const T* target;
  const T* weight;  // null: ones
  const A* dloss = nullptr;
  const T* ddx = nullptr;
  const T* ddtarget = nullptr;
  A* each = nullptr;  // loss or ddloss of every element, null: not wanted
  T* dx = nullptr;    // dx_of_one, dx or dx2
  T* dtarget = nullptr;
  double* partial = nullptr;  // sums of blocks, null: none, or straight to `total`
  A* total = nullptr;         // the reduced loss or ddloss, null: not wanted
};

/// What losses and slopes of one element of weight 1 are made of: s = sigmoid(-x), z = exp(-|x|).
template <class A> struct BceTerms { A q, base, log1p, softplus, small, spread, by_x; };

template <class T, class A = accumulate_t<T>>
METTLE_DEVICE BceTerms<A> bce_terms(const BceElements<T>& a, A x, A t) {
  constexpr bool fast = sizeof(T) == 2;
  BceTerms<A> e;
  const A z = exp_of<fast>(-magnitude(x)), inverse = reciprocal_of<fast>(1 + z);
  e.q = a.boost * t + 1;
  e.base = x < 0 ? -(a.p * t) : 1 - t;
  e.log1p = log1p_of_unit(z);
  e.softplus = (x < 0 ? -x : A{0}) + e.log1p;
  e.small = z * inverse;
  e.spread = e.small * inverse;
  e.by_x = e.base - e.q * (x < 0 ? -e.small : e.small);
  return e;
}

/// Calls f.template operator()<width>(i) for packs from element i on, and for single elements where
/// no pack is whole; f returns its share of the sum, of which the block's is written at the end.
template <int width, class T, class F>
METTLE_DEVICE void each_bce_pack(const BceElements<T>& a, double* shared, const F& f) {
  const std::int64_t packs = a.n / width;
  const std::int64_t stride = std::int64_t{dev::grid_size().x} * BceTile::threads;
  const std::int64_t thread =
      std::int64_t{dev::block_index().x} * BceTile::threads + dev::thread_index().x;
  double sum = 0;
  for (std::int64_t pack = thread; pack < packs; pack += stride)
    sum += f.template operator()<width>(pack * width);
  if (width > 1 && packs * width + thread < a.n)
    sum += f.template operator()<1>(packs * width + thread);
  if (!a.total) return;
  sum = block_sum(sum, shared);
  if (dev::thread_index().x != 0) return;
  if (a.partial)
    a.partial[dev::block_index().x] = sum;
  else
    *a.total = static_cast<accumulate_t<T>>(sum * a.share);
}

/// The weights of a pack.
template <int width, class T>
METTLE_DEVICE void load_bce_weights(const BceElements<T>& a, std::int64_t i,
                                    accumulate_t<T> (&to)[width]) {
  if (a.weight) {
    load_pack(a.weight + i, to);
  } else {
    METTLE_UNROLL
    for (int k = 0; k < width; ++k) to[k] = 1;
  }
}

/// Moves numbers of the accumulation type 16 bytes at a time.
template <int width, class A> METTLE_DEVICE void load_numbers(const A* from, A (&to)[width]) {
  constexpr int chunk = width < pack_size<A> ? width : pack_size<A>;
  METTLE_UNROLL
  for (int k = 0; k < width; k += chunk) {
    const auto pack = *reinterpret_cast<const dev::Pack<A, chunk>*>(from + k);
    METTLE_UNROLL
    for (int i = 0; i < chunk; ++i) to[k + i] = pack.at[i];
  }
}
template <int width, class A> METTLE_DEVICE void store_numbers(A* to, const A (&from)[width]) {
  constexpr int chunk = width < pack_size<A> ? width : pack_size<A>;
  METTLE_UNROLL
  for (int k = 0; k < width; k += chunk) {
    dev::Pack<A, chunk> pack;
    METTLE_UNROLL
    for (int i = 0; i < chunk; ++i) pack.at[i] = from[k + i];
    *reinterpret_cast<dev::Pack<A, chunk>*>(to + k) = pack;
  }
}

/// The slope that arrives at the losses of a pack.
template <int width, class T, class A = accumulate_t<T>>
METTLE_DEVICE void load_bce_slopes(const BceElements<T>& a, A common, std::int64_t i,
                                   A (&to)[width]) {
  if (!a.reduced) {
    load_numbers(a.dloss + i, to);
    return;
  }
  METTLE_UNROLL
  for (int k = 0; k < width; ++k) to[k] = common;
}
template <class T> METTLE_DEVICE accumulate_t<T> common_bce_slope(const BceElements<T>& a) {
  return a.reduced ? static_cast<accumulate_t<T>>(*a.dloss * a.share) : accumulate_t<T>{0};
}

template <class T, int width>
METTLE_GLOBAL(BceTile::threads)
void bce_with_logits_forward_elements(const BceElements<T> a) {
  using A = accumulate_t<T>;
  METTLE_SHARED(double, shared, BceTile::threads / dev::warp_size);
  const A scale = static_cast<A>(a.share);
  each_bce_pack<width>(a, shared, [&]<int w>(std::int64_t i) {
    A x[w], t[w], weight[w], loss[w], sum = 0;
    load_pack(a.x + i, x);
    load_pack(a.target + i, t);
    load_bce_weights(a, i, weight);
    METTLE_UNROLL
    for (int k = 0; k < w; ++k) {
      const BceTerms<A> e = bce_terms(a, x[k], t[k]);
      loss[k] = (e.base * x[k] + e.q * e.log1p) * weight[k];
      sum += loss[k];
      x[k] = scale * weight[k] * e.by_x;
    }
    if (a.each) store_numbers(a.each + i, loss);
    if (a.dx) store_pack(a.dx + i, x);
    return sum;
  });
}

template <class T, int width>
METTLE_GLOBAL(BceTile::threads)
void bce_with_logits_backward_elements(const BceElements<T> a) {
  using A = accumulate_t<T>;
  METTLE_SHARED(double, shared, BceTile::threads / dev::warp_size);
  const A common = common_bce_slope(a);
  each_bce_pack<width>(a, shared, [&]<int w>(std::int64_t i) {
    A x[w], t[w], weight[w], slope[w];
    load_pack(a.x + i, x);
    load_pack(a.target + i, t);
    load_bce_weights(a, i, weight);
    load_bce_slopes(a, common, i, slope);
    METTLE_UNROLL
    for (int k = 0; k < w; ++k) {
      const BceTerms<A> e = bce_terms(a, x[k], t[k]);
      const A by_x = slope[k] * weight[k] * e.by_x;
      t[k] = slope[k] * weight[k] * (a.boost * e.softplus - x[k]);
      x[k] = by_x;
    }
    if (a.dx) store_pack(a.dx + i, x);
    if (a.dtarget) store_pack(a.dtarget + i, t);
    return A{0};
  });
}

template <class T, int width>
METTLE_GLOBAL(BceTile::threads)
void bce_with_logits_double_backward_elements(const BceElements<T> a) {
  using A = accumulate_t<T>;
  METTLE_SHARED(double, shared, BceTile::threads / dev::warp_size);
  const A common = common_bce_slope(a);
  each_bce_pack<width>(a, shared, [&]<int w>(std::int64_t i) {
    A x[w], t[w], weight[w], slope[w], along_x[w], along_t[w], sum = 0;
    load_pack(a.x + i, x);
    load_pack(a.target + i, t);
    load_bce_weights(a, i, weight);
    load_bce_slopes(a, common, i, slope);
    load_or_zeros(a.ddx, i, along_x);
    load_or_zeros(a.ddtarget, i, along_t);
    METTLE_UNROLL
    for (int k = 0; k < w; ++k) {
      const BceTerms<A> e = bce_terms(a, x[k], t[k]);
      const A by_t = a.boost * e.softplus - x[k];
      const A s = x[k] < 0 ? 1 - e.small : e.small, mixed = a.boost * s + 1;  // -d2l/dxdt
      along_x[k] *= weight[k];
      along_t[k] *= weight[k];
      x[k] = slope[k] * (along_x[k] * (e.q * e.spread) - along_t[k] * mixed);
      t[k] = -(slope[k] * (along_x[k] * mixed));
      weight[k] = along_x[k] * e.by_x + along_t[k] * by_t;  // of ddloss
      sum += weight[k];
    }
    if (a.dx) store_pack(a.dx + i, x);
    if (a.dtarget) store_pack(a.dtarget + i, t);
    if (a.each) store_numbers(a.each + i, weight);
    return sum;
  });
}

/// total = share * the sum of the blocks' sums: thread t adds t, t + 256, ..., then the block.
template <class A>
METTLE_GLOBAL(BceTile::threads)
void add_bce_partials(const double* partial, int blocks, double share, A* total) {
  METTLE_SHARED(double, shared, BceTile::threads / dev::warp_size);
  double sum = 0;
  for (int b = dev::thread_index().x; b < blocks; b += BceTile::threads) sum += partial[b];
  sum = block_sum(sum, shared);
  if (dev::thread_index().x == 0) *total = static_cast<A>(sum * share);
}

}  // namespace mettle::kernels::cuda
