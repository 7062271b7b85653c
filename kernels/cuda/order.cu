// Sorted indices and extreme elements on a CUDA device.
#include "kernels/cuda/order.cuh"
#include "kernels/cuda/register.h"
#include "kernels/cuda/sort.h"

namespace mettle::kernels::cuda {
namespace {

dev::LaunchShape order_shape(std::int64_t threads) {
  return {{static_cast<int>((threads + order_threads - 1) / order_threads)}, {order_threads}};
}

void run_sort(const Stream& stream, const SortArgs& args) {
  const std::int64_t kept = args.rows * args.keep;
  if (kept == 0 || args.n == 0) return;
  LineSorter sorter(stream, args.rows, args.n, key_bits(args.dtype));
  dev::launch(order_keys_kernel, order_shape(args.rows * args.n), stream, args.x, args.dtype,
              args.order == Order::descending, args.rows * args.n, sorter.keys());
  sorter.sort();
  dev::launch(first_positions_kernel, order_shape(kept), stream, sorter.positions(), args.n,
              args.keep, kept, args.indices);
}

void run_arg_extremum(const Stream& stream, const ArgExtremumArgs& args) {
  if (args.rows == 0) return;
  const ExtremumRows rows = {args.x,    args.dtype, args.order == Order::descending,
                             args.rows, args.n,     args.index};
  if (args.n > 1024)
    return dev::launch(extremum_of_long_rows_kernel,
                       {{static_cast<int>(args.rows)}, {order_threads}}, stream, rows);
  int lanes = 1;
  while (lanes < dev::warp_size && 4 * lanes < args.n) lanes *= 2;
  dev::launch(extremum_of_short_rows_kernel, order_shape(args.rows * lanes), stream, rows, lanes);
}

}  // namespace

void register_order() {
  sort.add({"keys", DeviceType::cuda, 0, nullptr, run_sort});
  arg_extremum.add({"rows", DeviceType::cuda, 0, nullptr, run_arg_extremum});
}

}  // namespace mettle::kernels::cuda
