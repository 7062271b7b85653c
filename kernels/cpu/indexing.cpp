// gather and scatter_add. Threads divide outer lines and inner columns among themselves, never the
// axis: each sum is made by one thread, in the order of the index.
#include "kernels/indexing.h"

#include <algorithm>
#include <type_traits>

#include "engine/parallel.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/tiles.h"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cpu {
namespace {

/// Throws before anything is written. Lines that share their indices are checked once.
template <class Args> void check_indices(const Args& args) {
  const LineIndex& at = args.at;
  const std::int64_t outer =
      at.outer_stride == 0 ? std::min<std::int64_t>(args.outer, 1) : args.outer;
  const std::int64_t inner =
      at.inner_stride == 0 ? std::min<std::int64_t>(args.inner, 1) : args.inner;
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t i = 0; i < args.n; ++i)
      for (std::int64_t j = 0; j < inner; ++j) {
        const std::int64_t k =
            at.index[o * at.outer_stride + i * at.axis_stride + j * at.inner_stride];
        if (k < 0 || k >= args.size) throw_index_outside(at.operation, k, i, args.size);
      }
}

/// Calls body(o, first, last) for tiles of columns first ... last - 1 of the lines of outer index
/// o.
template <class Args, class Body> void for_tiles(const Args& args, Body&& body) {
  const std::int64_t tiles = (args.inner + tile_size - 1) / tile_size;
  const std::int64_t work = (args.n + 1) * std::min(args.inner, tile_size);
  parallel_for(args.outer * tiles,
               std::max<std::int64_t>(1, chunk_size / std::max<std::int64_t>(1, work)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % tiles * tile_size;
                   body(task / tiles, first, std::min(args.inner, first + tile_size));
                 }
               });
}

template <class T> void gather_elements(const GatherArgs& args) {
  const LineIndex& at = args.at;
  for_tiles(args, [&](std::int64_t o, std::int64_t first, std::int64_t last) {
    const T* x = static_cast<const T*>(args.x) + o * args.size * args.inner;
    T* y = static_cast<T*>(args.y) + o * args.n * args.inner;
    for (std::int64_t i = 0; i < args.n; ++i, y += args.inner) {
      const std::int64_t* index = at.index + o * at.outer_stride + i * at.axis_stride;
      if (at.inner_stride == 0) {
        const T* row = x + *index * args.inner;
        std::copy(row + first, row + last, y + first);
      } else {
        for (std::int64_t j = first; j < last; ++j)
          y[j] = x[index[j * at.inner_stride] * args.inner + j];
      }
    }
  });
}

/// Wraps around for integers, as in the hardware.
template <class T> void add_to(T& y, T x) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    y = static_cast<T>(static_cast<U>(y) + static_cast<U>(x));
  } else {
    y += x;
  }
}

template <class T> void add_elements(const ScatterAddArgs& args) {
  const LineIndex& at = args.at;
  for_tiles(args, [&](std::int64_t o, std::int64_t first, std::int64_t last) {
    const T* x = static_cast<const T*>(args.x) + o * args.n * args.inner;
    T* y = static_cast<T*>(args.y) + o * args.size * args.inner;
    for (std::int64_t k = 0; k < args.size; ++k)
      std::fill(y + k * args.inner + first, y + k * args.inner + last, T{});
    for (std::int64_t i = 0; i < args.n; ++i, x += args.inner) {
      const std::int64_t* index = at.index + o * at.outer_stride + i * at.axis_stride;
      if (at.inner_stride == 0) {
        T* row = y + *index * args.inner;
        for (std::int64_t j = first; j < last; ++j) add_to(row[j], x[j]);
      } else {
        for (std::int64_t j = first; j < last; ++j)
          add_to(y[index[j * at.inner_stride] * args.inner + j], x[j]);
      }
    }
  });
}

void run_gather(const Stream&, const GatherArgs& args) {
  check_indices(args);
  dispatch_any(args.dtype, [&]<class T>() { gather_elements<T>(args); });
}

void run_scatter_add(const Stream&, const ScatterAddArgs& args) {
  check_scatter_add(args.at.operation, args.dtype);
  check_indices(args);
  switch (args.dtype) {
    case DType::f64: return add_elements<double>(args);
    case DType::f32: return add_elements<float>(args);
    case DType::i64: return add_elements<std::int64_t>(args);
    default: return add_elements<std::int32_t>(args);
  }
}

}  // namespace

void register_indexing() {
  gather.add({"lines", DeviceType::cpu, 0, nullptr, run_gather});
  scatter_add.add({"lines", DeviceType::cpu, 0, nullptr, run_scatter_add});
}

}  // namespace mettle::kernels::cpu
