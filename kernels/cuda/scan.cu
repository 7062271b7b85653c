// Running sums on a CUDA device.
#include "kernels/scan.h"

#include <algorithm>

#include "kernels/cuda/register.h"
#include "kernels/cuda/scan.cuh"
#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {
namespace {

// So many blocks fill a GPU; a constant, because the order of additions must not depend on it.
constexpr std::int64_t enough_blocks = 512;

std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

dev::LaunchShape shape(std::int64_t blocks) { return {{static_cast<int>(blocks)}, {scan_threads}}; }

template <class T> void scan_lines(const Stream& stream, const CumsumArgs& args, const T* x, T* y) {
  using C = running_t<T>;
  const std::int64_t lines = args.outer * args.inner;
  const std::int64_t tiles = divide_up(args.n, scan_tile);
  const std::int64_t chunks =
      std::max<std::int64_t>(1, std::min(divide_up(enough_blocks, lines), tiles / 4));
  ScanLines l;
  l.n = args.n;
  l.step = args.inner;
  l.chunk = divide_up(tiles, chunks) * scan_tile;
  l.chunks = static_cast<int>(divide_up(args.n, l.chunk));
  const C* none = nullptr;
  if (l.chunks == 1) return dev::launch(scan_lines_kernel<T>, shape(lines), stream, x, y, none, l);
  const std::int64_t blocks = lines * l.chunks;
  Scratch scratch(stream, Scratch::sum(static_cast<std::size_t>(blocks) * sizeof(C)));
  C* sums = scratch.take<C>(static_cast<std::size_t>(blocks));
  dev::launch(sum_chunks_kernel<T>, shape(blocks), stream, x, sums, l);
  dev::launch(scan_chunks_kernel<C>, shape(divide_up(lines, scan_threads / dev::warp_size)), stream,
              sums, l.chunks, lines);
  dev::launch(scan_lines_kernel<T>, shape(blocks), stream, x, y, sums, l);
}

template <class T> void scan(const Stream& stream, const CumsumArgs& args) {
  const auto* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  const std::int64_t columns = args.outer * args.inner;
  // Walking down is best where lanes are neighbours in memory; short lines leave no other way.
  const bool walk = args.n <= 32 || (args.inner >= dev::warp_size && columns >= 16384);
  if (walk)
    dev::launch(scan_columns_kernel<T>, shape(divide_up(columns, scan_threads)), stream, x, y,
                args.outer, args.n, args.inner);
  else
    scan_lines(stream, args, x, y);
}

void run_cumsum(const Stream& stream, const CumsumArgs& args) {
  if (args.outer * args.n * args.inner == 0) return;
  if (args.dtype == DType::i64) return scan<std::int64_t>(stream, args);
  if (args.dtype == DType::i32) return scan<std::int32_t>(stream, args);
  dispatch_float(
      args.dtype, [&]<class T>() { scan<T>(stream, args); }, "cumsum");
}

}  // namespace

void register_scan() { cumsum.add({"lines", DeviceType::cuda, 0, nullptr, run_cumsum}); }

}  // namespace mettle::kernels::cuda
