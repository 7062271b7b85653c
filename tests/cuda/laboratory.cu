// The variant that docs/kernel-laboratory.md adds: layer norm forward, one warp a row, as plainly
// as it can be written.
#include "kernels/argument_checks.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/packs.cuh"
#include "kernels/layer_norm.h"

namespace mettle::kernels::cuda {
namespace {

template <class T> METTLE_GLOBAL(128) void my_layer_norm(LayerNormForwardArgs a) {
  using A = accumulate_t<T>;
  const int warps = dev::block_size().x / dev::warp_size;
  const std::int64_t row = std::int64_t{dev::block_index().x} * warps + dev::warp_index();
  if (row >= a.rows) return;  // whole warps leave, and there is no block barrier below
  const T* x = static_cast<const T*>(a.x) + row * a.columns;
  T* y = static_cast<T*>(a.y) + row * a.columns;
  A sum = 0;
  for (std::int64_t j = dev::lane_index(); j < a.columns; j += dev::warp_size)
    sum += load_one(x + j);
  const A mean = dev::warp_sum(sum) / static_cast<A>(a.columns);
  A squares = 0;
  for (std::int64_t j = dev::lane_index(); j < a.columns; j += dev::warp_size)
    squares += (load_one(x + j) - mean) * (load_one(x + j) - mean);
  const A variance = dev::warp_sum(squares) / static_cast<A>(a.columns);
  const A rstd = dev::reciprocal_sqrt(variance + static_cast<A>(a.eps));
  const std::int64_t group = row / (a.rows / a.groups) * a.columns;
  for (std::int64_t j = dev::lane_index(); j < a.columns; j += dev::warp_size) {
    A value = (load_one(x + j) - mean) * rstd;
    if (a.gamma) value *= load_one(static_cast<const T*>(a.gamma) + group + j);
    if (a.beta) value += load_one(static_cast<const T*>(a.beta) + group + j);
    store_one(y + j, value);
  }
  if (dev::lane_index() != 0) return;
  if (a.mean) static_cast<A*>(a.mean)[row] = mean;
  if (a.rstd) static_cast<A*>(a.rstd)[row] = rstd;
}

bool takes(const LayerNormForwardArgs& a) { return a.rows > 0 && is_floating(a.dtype); }

void run(const Stream& stream, const LayerNormForwardArgs& a) {
  check_normalised("my_layer_norm", a.rows, a.columns, a.groups);
  dispatch_float(a.dtype, [&]<class T>() {
    dev::launch(my_layer_norm<T>, {{static_cast<int>((a.rows + 3) / 4)}, {128}}, stream, a);
  });
}

}  // namespace

void register_my_layer_norm() {
  layer_norm_forward.add({"mine", DeviceType::cuda, -1, takes, run, "floating dtypes"});
}

}  // namespace mettle::kernels::cuda
