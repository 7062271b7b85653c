// Running sums: a tile of neighbouring columns walks down the axis together.
#include "kernels/scan.h"

#include <algorithm>

#include "engine/parallel.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/tiles.h"

namespace mettle::kernels::cpu {
namespace {

template <class T, class C> void running_sums(const CumsumArgs& args) {
  const std::int64_t tiles = (args.inner + tile_size - 1) / tile_size;
  const std::int64_t work = std::max<std::int64_t>(1, args.n * std::min(args.inner, tile_size));
  parallel_for(args.outer * tiles, std::max<std::int64_t>(1, chunk_size / work),
               [&](std::int64_t begin, std::int64_t end) {
                 C total[tile_size];
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t column = task % tiles * tile_size;
                   const std::int64_t width = std::min(tile_size, args.inner - column);
                   std::int64_t at = task / tiles * args.n * args.inner + column;
                   std::fill_n(total, width, C{});
                   for (std::int64_t i = 0; i < args.n; ++i, at += args.inner) {
                     const T* x = static_cast<const T*>(args.x) + at;
                     T* y = static_cast<T*>(args.y) + at;
                     for (std::int64_t j = 0; j < width; ++j) {
                       total[j] += static_cast<C>(x[j]);
                       y[j] = static_cast<T>(total[j]);
                     }
                   }
                 }
               });
}

void run_cumsum(const Stream&, const CumsumArgs& args) {
  // Unsigned: integer sums wrap around as in the hardware.
  if (args.dtype == DType::i64) return running_sums<std::int64_t, std::uint64_t>(args);
  if (args.dtype == DType::i32) return running_sums<std::int32_t, std::uint64_t>(args);
  dispatch_float(
      args.dtype, [&]<class T>() { running_sums<T, accumulate_t<T>>(args); }, "cumsum");
}

}  // namespace

void register_scan() { cumsum.add({"columns", DeviceType::cpu, 0, nullptr, run_cumsum}); }

}  // namespace mettle::kernels::cpu
