// The drivers of the elementwise kernels: chunks for the threads, tiles for the vector loops.
#include "kernels/elementwise.h"

#include <cmath>
#include <numeric>

#include "engine/parallel.h"
#include "kernels/copy.h"
#include "kernels/cpu/elementwise_tiles.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/tiles.h"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cpu {
namespace {

/// Calls f.template operator()<T>() with T = i64 or i32, whichever `dtype` is.
template <class F> void dispatch_integer(DType dtype, F&& f) {
  if (dtype == DType::i64) {
    f.template operator()<std::int64_t>();
  } else {
    f.template operator()<std::int32_t>();
  }
}

// Integer tiles: wrap-around arithmetic as in the hardware.
template <class T>
void integer_unary(UnaryOp op, const T* x, T* y, std::int64_t n, T alpha, T beta) {
  using U = std::make_unsigned_t<T>;
  for (std::int64_t j = 0; j < n; ++j) {
    const auto u = static_cast<U>(x[j]);
    switch (op) {
      case UnaryOp::affine:
        y[j] = static_cast<T>(u * static_cast<U>(alpha) + static_cast<U>(beta));
        break;
      case UnaryOp::abs: y[j] = x[j] < 0 ? static_cast<T>(U{0} - u) : x[j]; break;
      default: y[j] = static_cast<T>((x[j] > 0) - (x[j] < 0)); break;
    }
  }
}

/// `first` is the number of the tile's first element.
template <class T>
void integer_binary(BinaryOp op, const T* a, const T* b, T* y, std::int64_t n, std::int64_t first) {
  using U = std::make_unsigned_t<T>;
  for (std::int64_t j = 0; j < n; ++j) {
    const auto p = static_cast<U>(a[j]), q = static_cast<U>(b[j]);
    switch (op) {
      case BinaryOp::add: y[j] = static_cast<T>(p + q); break;
      case BinaryOp::sub: y[j] = static_cast<T>(p - q); break;
      case BinaryOp::mul: y[j] = static_cast<T>(p * q); break;
      case BinaryOp::maximum: y[j] = std::max(a[j], b[j]); break;
      case BinaryOp::minimum: y[j] = std::min(a[j], b[j]); break;
      default:
        if (b[j] == 0) throw_division_by_zero(first + j);
        y[j] = b[j] == -1 ? static_cast<T>(U{0} - p) : a[j] / b[j];
    }
  }
}

template <class T, class C, class Tile> void map_unary(const UnaryArgs& args, Tile&& tile) {
  const Layout<1> l = collapse<1>(args.shape, {&args.x_strides});
  const T* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) C in[tile_size], out[tile_size];
    for (std::int64_t at = begin; at < end; at += tile_size) {
      const std::int64_t n = std::min(tile_size, end - at);
      C* to = output_tile(y + at, out);
      tile(load_tile<C>(x, l, 0, at, n, in), to, n);
      store_tile(to, y + at, n);
    }
  });
}

void run_unary(const Stream&, const UnaryArgs& args) {
  if (maps_integers(args.op, args.dtype)) {
    return dispatch_integer(args.dtype, [&]<class T>() {
      map_unary<T, T>(args, [&](const T* x, T* y, std::int64_t n) {
        integer_unary(args.op, x, y, n, static_cast<T>(args.alpha), static_cast<T>(args.beta));
      });
    });
  }
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        using C = accumulate_t<T>;
        const UnaryTile<C> tile = unary_tile(args.op, C{});
        const C alpha = static_cast<C>(args.alpha), beta = static_cast<C>(args.beta);
        map_unary<T, C>(args,
                        [&](const C* x, C* y, std::int64_t n) { tile(x, y, n, alpha, beta); });
      },
      "elementwise function");
}

template <class T, class C, class Tile> void map_binary(const BinaryArgs& args, Tile&& tile) {
  const Layout<2> l = collapse<2>(args.shape, {&args.a_strides, &args.b_strides});
  const T* a = static_cast<const T*>(args.a);
  const T* b = static_cast<const T*>(args.b);
  T* y = static_cast<T*>(args.y);
  parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) C in_a[tile_size], in_b[tile_size], out[tile_size];
    const C* every_a = constant_tile<C>(a, l, 0, end - begin, in_a);
    const C* every_b = constant_tile<C>(b, l, 1, end - begin, in_b);
    for (std::int64_t at = begin; at < end; at += tile_size) {
      const std::int64_t n = std::min(tile_size, end - at);
      C* to = output_tile(y + at, out);
      tile(every_a ? every_a : load_tile<C>(a, l, 0, at, n, in_a),
           every_b ? every_b : load_tile<C>(b, l, 1, at, n, in_b), to, n);
      store_tile(to, y + at, n);
    }
  });
}

void run_binary(const Stream&, const BinaryArgs& args) {
  if (maps_integers(args.op, args.dtype)) {
    return dispatch_integer(args.dtype, [&]<class T>() {
      map_binary<T, T>(args, [&](const T* a, const T* b, T* y, std::int64_t n) {
        integer_binary(args.op, a, b, y, n, y - static_cast<T*>(args.y));
      });
    });
  }
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        using C = accumulate_t<T>;
        map_binary<T, C>(args, binary_tile(args.op, C{}));
      },
      "elementwise function");
}

template <class C>
void compare_tile(CompareOp op, const C* a, const C* b, bool* y, std::int64_t n) {
  const auto each = [&](auto f) {
    for (std::int64_t j = 0; j < n; ++j) y[j] = f(a[j], b[j]);
  };
  switch (op) {
    case CompareOp::eq: return each([](C p, C q) { return p == q; });
    case CompareOp::ne: return each([](C p, C q) { return p != q; });
    case CompareOp::lt: return each([](C p, C q) { return p < q; });
    case CompareOp::le: return each([](C p, C q) { return p <= q; });
    case CompareOp::gt: return each([](C p, C q) { return p > q; });
    case CompareOp::ge: return each([](C p, C q) { return p >= q; });
  }
}

// The type in which two elements are compared: exact for every value of T.
template <class T>
using compare_t = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

void run_compare(const Stream&, const CompareArgs& args) {
  const Layout<2> l = collapse<2>(args.shape, {&args.a_strides, &args.b_strides});
  bool* y = static_cast<bool*>(args.y);
  dispatch_any(args.dtype, [&]<class T>() {
    using C = compare_t<T>;
    parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
      alignas(64) C in_a[tile_size], in_b[tile_size];
      for (std::int64_t at = begin; at < end; at += tile_size) {
        const std::int64_t n = std::min(tile_size, end - at);
        compare_tile<C>(args.op, load_tile<C>(static_cast<const T*>(args.a), l, 0, at, n, in_a),
                        load_tile<C>(static_cast<const T*>(args.b), l, 1, at, n, in_b), y + at, n);
      }
    });
  });
}

void run_where(const Stream&, const WhereArgs& args) {
  const Layout<3> l =
      collapse<3>(args.shape, {&args.condition_strides, &args.a_strides, &args.b_strides});
  dispatch_any(args.dtype, [&]<class T>() {
    T* y = static_cast<T*>(args.y);
    parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
      alignas(64) T in_a[tile_size], in_b[tile_size];
      alignas(64) bool in_c[tile_size];
      for (std::int64_t at = begin; at < end; at += tile_size) {
        const std::int64_t n = std::min(tile_size, end - at);
        const bool* c =
            load_tile<bool>(static_cast<const bool*>(args.condition), l, 0, at, n, in_c);
        const T* a = load_tile<T>(static_cast<const T*>(args.a), l, 1, at, n, in_a);
        const T* b = load_tile<T>(static_cast<const T*>(args.b), l, 2, at, n, in_b);
        for (std::int64_t j = 0; j < n; ++j) y[at + j] = c[j] ? a[j] : b[j];
      }
    });
  });
}

void run_addcmul(const Stream&, const AddcmulArgs& args) {
  const Layout<3> l = collapse<3>(args.shape, {&args.x_strides, &args.a_strides, &args.b_strides});
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        using C = accumulate_t<T>;
        const AddcmulTile<C> tile = addcmul_tile(C{});
        const T* operands[] = {static_cast<const T*>(args.x), static_cast<const T*>(args.a),
                               static_cast<const T*>(args.b)};
        T* y = static_cast<T*>(args.y);
        parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
          alignas(64) C in[3][tile_size], out[tile_size];
          const C* every[3];
          for (int i = 0; i < 3; ++i)
            every[i] = constant_tile<C>(operands[i], l, i, end - begin, in[i]);
          for (std::int64_t at = begin; at < end; at += tile_size) {
            const std::int64_t n = std::min(tile_size, end - at);
            const auto part = [&](int i) {
              return every[i] ? every[i] : load_tile<C>(operands[i], l, i, at, n, in[i]);
            };
            C* to = output_tile(y + at, out);
            tile(part(0), part(1), part(2), to, n, static_cast<C>(args.scale));
            store_tile(to, y + at, n);
          }
        });
      },
      "addcmul");
}

template <class T, class S> T convert(S value) {
  if constexpr (std::is_same_v<T, S>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return static_cast<accumulate_t<S>>(value) != 0;
  } else if constexpr (std::is_integral_v<S> &&
                       (std::is_same_v<T, bf16> || std::is_same_v<T, f16>)) {
    return T(static_cast<float>(value));
  } else if constexpr ((std::is_same_v<S, bf16> || std::is_same_v<S, f16>)) {
    return static_cast<T>(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

void run_copy(const Stream&, const CopyArgs& args) {
  const Layout<2> l = collapse<2>(args.shape, {&args.x_strides, &args.y_strides});
  dispatch_any(args.x_dtype, [&]<class S>() {
    dispatch_any(args.y_dtype, [&]<class T>() {
      const S* x = static_cast<const S*>(args.x);
      T* y = static_cast<T*>(args.y);
      parallel_for(l.total, chunk_size, [&](std::int64_t begin, std::int64_t end) {
        alignas(64) S in[tile_size];
        for (std::int64_t at = begin; at < end; at += tile_size) {
          const std::int64_t n = std::min(tile_size, end - at);
          const S* from = load_tile<S>(x, l, 0, at, n, in);
          for_each_run(
              l, 1, at, n,
              [&](std::int64_t to, std::int64_t stride, std::int64_t count, std::int64_t done) {
                if (stride == 1) {
                  for (std::int64_t j = 0; j < count; ++j) y[to + j] = convert<T>(from[done + j]);
                } else {
                  for (std::int64_t j = 0; j < count; ++j)
                    y[to + j * stride] = convert<T>(from[done + j]);
                }
              });
        }
      });
    });
  });
}

void run_fill(const Stream&, const FillArgs& args) {
  dispatch_any(args.dtype, [&]<class T>() {
    const T value = convert<T>(args.value);
    T* y = static_cast<T*>(args.y);
    parallel_for(args.n, chunk_size, [&](std::int64_t begin, std::int64_t end) {
      std::fill(y + begin, y + end, value);
    });
  });
}

void run_arange(const Stream&, const ArangeArgs& args) {
  parallel_for(args.n, chunk_size, [&](std::int64_t begin, std::int64_t end) {
    std::iota(args.y + begin, args.y + end, begin);
  });
}

}  // namespace

void register_elementwise() {
  unary.add({"tiles", DeviceType::cpu, 0, nullptr, run_unary});
  binary.add({"tiles", DeviceType::cpu, 0, nullptr, run_binary});
  compare.add({"tiles", DeviceType::cpu, 0, nullptr, run_compare});
  where.add({"tiles", DeviceType::cpu, 0, nullptr, run_where});
  addcmul.add({"tiles", DeviceType::cpu, 0, nullptr, run_addcmul});
  copy.add({"tiles", DeviceType::cpu, 0, nullptr, run_copy});
  fill.add({"tiles", DeviceType::cpu, 0, nullptr, run_fill});
  arange.add({"tiles", DeviceType::cpu, 0, nullptr, run_arange});
}

}  // namespace mettle::kernels::cpu
