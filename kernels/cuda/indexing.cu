// gather and scatter_add on a CUDA device.
#include <string_view>

#include "kernels/copy.h"
#include "kernels/cuda/indexing.h"
#include "kernels/cuda/register.h"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cuda {
namespace {

// The operations that look up along an axis, as their errors name them.
constexpr const char* operations[] = {"index_select", "gather", "scatter_add", "index_add",
                                      "one_hot"};

template <int i> void explain(std::int64_t position, std::int64_t index, std::int64_t size) {
  throw_index_outside(operations[i], index, position, size);
}

FaultExplanation explanation(std::string_view operation) {
  if (operation == operations[1]) return explain<1>;
  if (operation == operations[2]) return explain<2>;
  if (operation == operations[3]) return explain<3>;
  if (operation == operations[4]) return explain<4>;
  return explain<0>;
}

template <class Args> IndexList<std::int64_t> list_of(const Stream& stream, const Args& args) {
  const LineIndex& at = args.at;
  return {at.index,
          at.outer_stride,
          at.axis_stride,
          at.inner_stride,
          args.size,
          -1,
          fault_reporter(stream, explanation(at.operation), args.size)};
}

void run_gather(const Stream& stream, const GatherArgs& args) {
  gather_lines(stream, args.x, args.y, size_of(args.dtype), args.outer, args.n, args.inner,
               list_of(stream, args));
}

template <class T> void scatter(const Stream& stream, const ScatterAddArgs& args) {
  fill(stream, {args.y, args.dtype, args.outer * args.size * args.inner, 0.0});
  if (args.outer * args.n * args.inner == 0) return;
  const auto* x = static_cast<const T*>(args.x);
  T* y = static_cast<T*>(args.y);
  const IndexList<std::int64_t> list = list_of(stream, args);
  const std::int64_t outer_lists = list.outer_stride == 0 ? 1 : args.outer;
  const std::int64_t inner_lists = list.column_stride == 0 ? 1 : args.inner;
  constexpr std::int64_t few = 16, many = 8192;
  if (args.n <= few || outer_lists * inner_lists >= many) {
    const Grid3 grid = grid3(args.outer, args.n, args.inner);
    return dev::launch(scatter_columns_kernel<T>, index_shape(args.outer * args.inner), stream, x,
                       y, grid, list);
  }
  LineSorter sorter(stream, outer_lists * inner_lists, args.n, index_bits(args.size));
  sort_indices(stream, sorter, grid3(outer_lists, args.n, inner_lists), list);
  const Runs runs = {sorter.sorted_keys(),
                     sorter.positions(),
                     list.outer_stride == 0 ? 0 : inner_lists,
                     list.column_stride == 0 ? 0 : 1,
                     args.size,
                     nullptr};
  sum_runs<false>(stream, x, y, args.outer, args.n, args.inner, runs);
}

void run_scatter_add(const Stream& stream, const ScatterAddArgs& args) {
  check_scatter_add(args.at.operation, args.dtype);
  switch (args.dtype) {
    case DType::f64: return scatter<double>(stream, args);
    case DType::f32: return scatter<float>(stream, args);
    case DType::i64: return scatter<std::int64_t>(stream, args);
    default: return scatter<std::int32_t>(stream, args);
  }
}

}  // namespace

void register_indexing() {
  gather.add({"units", DeviceType::cuda, 0, nullptr, run_gather});
  scatter_add.add({"runs", DeviceType::cuda, 0, nullptr, run_scatter_add});
}

}  // namespace mettle::kernels::cuda
