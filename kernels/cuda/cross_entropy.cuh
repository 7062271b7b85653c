// Softmax cross-entropy of rows of logits, forward, backward and double backward;
// kernels/cross_entropy.h has the formulas.
//
// Limit: memory. Forward reads each logit once, 2 bytes at 16 bits: every thread keeps the largest
// logit so far and the sum of exponentials below it. Backward reads and writes a logit, 4 bytes (in
// place where it is asked to). Double backward reads logits and cotangents and writes, 6 bytes, and
// reads both again for the second sweep, from L2: the rows at work are a few megabytes. About 8, 10
// and 20 instructions an element of the 17, 35 and 53 that an H100 has time for, one of them the
// exponential. A row belongs to a warp, to a block of 256 or, from 16384 classes, of 1024 threads.
// In flight: 32 to 64 bytes a thread, as many KB a multiprocessor.
//
// Rows of a width that is no multiple of a pack begin anywhere: what lies before the first and
// after the last whole pack of 16 bytes is read by single elements.
#pragma once

#include <cstdint>

#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/row_tile.cuh"
#include "kernels/cuda/special_functions.cuh"

namespace mettle::kernels::cuda {

/// kernels/cross_entropy.h describes the operands.
template <class T> struct EntropyRows {
  using A = accumulate_t<T>;
  GroupRows rows;  // of one group
  std::int64_t classes;
  std::int64_t ignore_index;
  std::int64_t first_row;
  A smoothing;   // eps
  A everywhere;  // eps / C, that each class has of q
  bool wide;     // targets are i64
  const T* logits;
  const void* target;
  FaultReporter fault;
  A* loss = nullptr;         // forward
  A* new_highest = nullptr;  // forward, null: not wanted
  A* new_inverse = nullptr;
  const A* highest = nullptr;  // not forward
  const A* inverse = nullptr;
  const A* dloss = nullptr;     // not forward
  const T* ddlogits = nullptr;  // double backward
  T* dlogits = nullptr;         // dlogits or dlogits2, null: not wanted
  A* ddloss = nullptr;          // double backward, null: not wanted
};

inline constexpr std::int64_t no_class = -1;

/// The class of a row; no_class of one that is ignored, or that has none, which is reported.
template <class Tile, class T>
METTLE_DEVICE std::int64_t class_of(const EntropyRows<T>& a, std::int64_t row) {
  const std::int64_t target = a.wide ? static_cast<const std::int64_t*>(a.target)[row]
                                     : static_cast<const std::int32_t*>(a.target)[row];
  if (target == a.ignore_index) return no_class;
  if (target >= 0 && target < a.classes) return target;
  if (Tile::thread() == 0) report_fault(a.fault, a.first_row + row, target);
  return no_class;
}

/// The packs and the single elements of a row. Rows of several operands lie alike.
template <class Tile> struct PeeledRow {
  std::int64_t head, packs, classes;

  template <class T>
  METTLE_DEVICE PeeledRow(const T* row, std::int64_t of_classes) : classes(of_classes) {
    const auto place = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % 16);
    head = Tile::width == 1 ? 0 : (16 - place) % 16 / static_cast<std::int64_t>(sizeof(T));
    if (head > classes) head = classes;
    packs = (classes - head) / Tile::width;
  }

  /// Calls f.template operator()<width, at_once>(j, count) for `at_once` packs at j, j + step() and
  /// so on, of which `count` are in the row, and f.template operator()<1, 1>(j, 1) for an element.
  template <int at_once, class F> METTLE_DEVICE void each(const F& f) const {
    for (std::int64_t k = Tile::thread(); k < packs; k += at_once * Tile::threads) {
      const std::int64_t left = (packs - k + Tile::threads - 1) / Tile::threads;
      f.template operator()<Tile::width, at_once>(
          head + k * Tile::width, left < at_once ? static_cast<int>(left) : at_once);
    }
    if constexpr (Tile::width > 1) {
      const std::int64_t tail = head + packs * Tile::width;
      const int from_end = Tile::threads - 1 - Tile::thread();
      if (Tile::thread() < head) f.template operator()<1, 1>(Tile::thread(), 1);
      if (tail + from_end < classes) f.template operator()<1, 1>(tail + from_end, 1);
    }
  }
  static constexpr std::int64_t step = std::int64_t{Tile::threads} * Tile::width;
};

template <class T> inline constexpr bool entropy_is_fast = sizeof(T) <= 4;

/// exp(z - highest), of z = -inf 0 whatever the highest.
template <class T, class A = accumulate_t<T>> METTLE_DEVICE A exp_below(A z, A highest) {
  return exp_of<entropy_is_fast<T>>(z - highest);
}

/// The largest logit so far and the sum of the exponentials below it. A NaN makes the sum NaN.
template <class T> struct OnlineSum {
  using A = accumulate_t<T>;
  A highest = -static_cast<A>(dev::infinity());
  A exponentials = 0;
  A logits = 0;

  /// Of a row that is -inf so far the exponentials are 0.
  METTLE_DEVICE A base() const {
    return highest == -static_cast<A>(dev::infinity()) ? A{0} : highest;
  }
  template <int width, int packs>
  METTLE_DEVICE void add(const HeldPack<T, width> (&z)[packs], int count) {
    A high = highest;
    METTLE_UNROLL
    for (int k = 0; k < packs; ++k) {
      if (k >= count) continue;
      METTLE_UNROLL
      for (int i = 0; i < width; ++i) high = dev::maximum(high, z[k].get(i));
    }
    if (high > highest) {
      exponentials *= exp_below<T>(highest, high);
      highest = high;
    }
    const A below = base();
    METTLE_UNROLL
    for (int k = 0; k < packs; ++k) {
      if (k >= count) continue;
      METTLE_UNROLL
      for (int i = 0; i < width; ++i) {
        exponentials += exp_below<T>(z[k].get(i), below);
        logits += z[k].get(i);
      }
    }
  }
};

/// The largest value of a row's threads; `shared` holds a value for each warp.
template <class Tile, class A> METTLE_DEVICE A row_max(A value, A* shared) {
  value = dev::warp_max(value);
  if constexpr (!Tile::by_warp) {
    if (dev::lane_index() == 0) shared[dev::warp_index()] = value;
    dev::sync_block();
    value = shared[0];
    for (int warp = 1; warp < Tile::threads / dev::warp_size; ++warp)
      value = dev::maximum(value, shared[warp]);
  }
  return value;
}

/// Packs of a row from j on, as far as there are some.
template <class Tile, int width, int packs, class T>
METTLE_DEVICE void load_entropy_packs(const T* row, std::int64_t j, int count,
                                      HeldPack<T, width> (&to)[packs]) {
  METTLE_UNROLL
  for (int k = 0; k < packs; ++k)
    if (k < count) to[k].load(row + j + k * PeeledRow<Tile>::step);
}

template <class Tile, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, 1)
void cross_entropy_forward_rows(const EntropyRows<T> a) {
  using A = typename Tile::A;
  constexpr int warps = Tile::threads / dev::warp_size, at_once = Tile::width == 1 ? 8 : 4;
  METTLE_SHARED(A, maxima, warps);
  METTLE_SHARED(A, sums, 2 * warps);
  a.rows.template each_row<Tile>([&](std::int64_t row, int) {
    const std::int64_t target = class_of<Tile>(a, row);
    const T* z = a.logits + row * a.classes;
    A loss = 0, highest = 0, inverse = 0;
    if (target != no_class) {
      OnlineSum<T> online;
      PeeledRow<Tile>(z, a.classes)
          .template each<at_once>([&]<int width, int packs>(std::int64_t j, int count) {
            HeldPack<T, width> values[packs] = {};
            load_entropy_packs<Tile>(z, j, count, values);
            online.add(values, count);
          });
      highest = row_max<Tile>(online.highest, maxima);
      const A scale = online.highest == highest ? A{1} : exp_below<T>(online.highest, highest);
      A total[2] = {online.exponentials * scale, online.logits};
      if constexpr (Tile::by_warp) {
        total[0] = dev::warp_sum(total[0]);
        total[1] = dev::warp_sum(total[1]);
      } else {
        block_sums(total, sums);
      }
      inverse = A{1} / total[0];
      if (Tile::thread() == 0) {
        loss = exact_log(total[0]) + (1 - a.smoothing) * (highest - load_one(z + target));
        if (a.smoothing > 0) loss += a.smoothing * (highest - total[1] / static_cast<A>(a.classes));
      }
    }
    if (Tile::thread() != 0) return;
    a.loss[row] = loss;
    if (a.new_highest) a.new_highest[row] = highest;
    if (a.new_inverse) a.new_inverse[row] = inverse;
  });
}

/// Zeros to a row.
template <class Tile, class T> METTLE_DEVICE void clear_row(const PeeledRow<Tile>& peeled, T* row) {
  peeled.template each<1>([&]<int width, int>(std::int64_t j, int) {
    const accumulate_t<T> zeros[width] = {};
    store_pack(row + j, zeros);
  });
}

template <class Tile, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, 1)
void cross_entropy_backward_rows(const EntropyRows<T> a) {
  using A = typename Tile::A;
  constexpr int at_once = Tile::width == 1 ? 4 : 2;
  a.rows.template each_row<Tile>([&](std::int64_t row, int) {
    const std::int64_t target = class_of<Tile>(a, row);
    const T* z = a.logits + row * a.classes;
    T* dz = a.dlogits + row * a.classes;
    const PeeledRow<Tile> peeled(z, a.classes);
    if (target == no_class) return clear_row(peeled, dz);
    const A highest = a.highest[row], inverse = a.inverse[row], slope = a.dloss[row];
    const A scale = slope * inverse, rest = slope * a.everywhere;
    peeled.template each<at_once>([&]<int width, int packs>(std::int64_t j, int count) {
      HeldPack<T, width> v[packs] = {};
      load_entropy_packs<Tile>(z, j, count, v);
      METTLE_UNROLL
      for (int k = 0; k < packs; ++k) {
        if (k >= count) continue;
        const std::int64_t first = j + k * PeeledRow<Tile>::step, place = target - first;
        A out[width];
        METTLE_UNROLL
        for (int i = 0; i < width; ++i) {
          const A e = exp_below<T>(v[k].get(i), highest);
          const A at_target = slope * (e * inverse - a.everywhere - (1 - a.smoothing));
          out[i] = place == i ? at_target : e * scale - rest;
        }
        store_pack(dz + first, out);
      }
    });
  });
}

template <class Tile, class T = typename Tile::T>
METTLE_GLOBAL(Tile::block, 1)
void cross_entropy_double_backward_rows(const EntropyRows<T> a) {
  using A = typename Tile::A;
  constexpr int at_once = Tile::width == 1 ? 4 : 2, warps = Tile::threads / dev::warp_size;
  METTLE_SHARED(A, shared, 2 * 3 * warps);
  int turn = 0;  // of the rows that are summed
  a.rows.template each_row<Tile>([&](std::int64_t row, int) {
    const std::int64_t target = class_of<Tile>(a, row);
    const T *z = a.logits + row * a.classes, *u = a.ddlogits + row * a.classes;
    T* dz2 = row_at(a.dlogits, row, a.classes);
    const PeeledRow<Tile> peeled(z, a.classes);
    if (target == no_class) {
      if (dz2) clear_row(peeled, dz2);
      if (a.ddloss && Tile::thread() == 0) a.ddloss[row] = 0;
      return;
    }
    const A highest = a.highest[row], inverse = a.inverse[row], slope = a.dloss[row];
    A sums[3] = {};  // of u exp(z - highest), u, and u at the target, which dz2 may overwrite
    peeled.template each<at_once>([&]<int width, int packs>(std::int64_t j, int count) {
      HeldPack<T, width> v[packs] = {}, along[packs] = {};
      load_entropy_packs<Tile>(z, j, count, v);
      load_entropy_packs<Tile>(u, j, count, along);
      METTLE_UNROLL
      for (int k = 0; k < packs; ++k) {
        if (k >= count) continue;
        const std::int64_t place = target - (j + k * PeeledRow<Tile>::step);
        METTLE_UNROLL
        for (int i = 0; i < width; ++i) {
          const A of_u = along[k].get(i);
          sums[0] += of_u * exp_below<T>(v[k].get(i), highest);
          sums[1] += of_u;
          if (place == i) sums[2] += of_u;
        }
      }
    });
    Tile::row_sums(sums, shared, turn);
    turn ^= 1;
    const A t = sums[0] * inverse, scale = slope * inverse;
    if (a.ddloss && Tile::thread() == 0)
      a.ddloss[row] = t - (1 - a.smoothing) * sums[2] - a.everywhere * sums[1];
    if (!dz2) return;
    peeled.template each<at_once>([&]<int width, int packs>(std::int64_t j, int count) {
      HeldPack<T, width> v[packs] = {}, along[packs] = {};
      load_entropy_packs<Tile>(z, j, count, v);
      load_entropy_packs<Tile>(u, j, count, along);
      METTLE_UNROLL
      for (int k = 0; k < packs; ++k) {
        if (k >= count) continue;
        A out[width];
        METTLE_UNROLL
        for (int i = 0; i < width; ++i)
          out[i] = exp_below<T>(v[k].get(i), highest) * scale * (along[k].get(i) - t);
        store_pack(dz2 + j + k * PeeledRow<Tile>::step, out);
      }
    });
  });
}

}  // namespace mettle::kernels::cuda
