// The bias + GELU slots on CUDA: grids, and the second stage of the bias's gradient.
#include "kernels/cuda/bias_gelu.cuh"

#include "kernels/argument_checks.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/row_grid.h"

namespace mettle::kernels::cuda {
namespace {

/// `resident`: blocks that a multiprocessor has at a time, together at most so many.
template <int width, class Args>
ColumnGrid column_grid(const Stream& stream, const Args& a, int resident) {
  ColumnGrid grid{{}, a.columns, 1, 0};
  while (grid.lanes < 32 && grid.lanes * width < a.columns) grid.lanes *= 2;
  const std::int64_t strip = std::int64_t{grid.lanes} * width;
  grid.strips = static_cast<int>((a.columns + strip - 1) / strip);
  const int rows = ColumnGrid::threads / grid.lanes;
  const std::int64_t per_group = a.rows / a.groups, needed = (per_group + rows - 1) / rows;
  const std::int64_t blocks = std::int64_t{device_limits(stream).multiprocessors} * resident;
  const std::int64_t sharers = std::max<std::int64_t>(grid.strips * a.groups, 1);
  const std::int64_t granted = std::max<std::int64_t>(blocks / sharers, 1);
  grid.rows = {per_group, static_cast<int>(std::min(needed, granted))};
  return grid;
}

/// f.template operator()<T, width, form>()
template <class Args, class F>
void with_kernel(const Args& a, std::initializer_list<const void*> operands, const F& f) {
  dispatch_float(
      a.dtype,
      [&]<class T>() {
        const auto with_form = [&]<int width>() {
          a.form == GeluForm::erf ? f.template operator()<T, width, GeluForm::erf>()
                                  : f.template operator()<T, width, GeluForm::tanh>();
        };
        rows_fit_packs<T>(a.columns, operands) ? with_form.template operator()<pack_size<T>>()
                                               : with_form.template operator()<1>();
      },
      "bias_gelu");
}

template <class T, class Args>
void launch(void (*kernel)(BiasGelu<T>), const Stream& stream, const Args& a,
            const BiasGelu<T>& operands) {
  const ColumnGrid& grid = operands.grid;
  const std::int64_t blocks = a.groups * grid.rows.blocks_per_group * grid.strips;
  if (blocks > 0)
    dev::launch(kernel, {{static_cast<int>(blocks)}, {ColumnGrid::threads}}, stream, operands);
}

template <class T> const T* input(const void* data) { return static_cast<const T*>(data); }
template <class T> T* output(void* data) { return static_cast<T*>(data); }

void forward(const Stream& stream, const BiasGeluForwardArgs& a) {
  check_groups("bias_gelu", a.rows, a.groups);
  with_kernel(a, {a.x, a.bias, a.y}, [&]<class T, int width, GeluForm form>() {
    launch(bias_gelu_forward_columns<T, width, form>, stream, a,
           BiasGelu<T>{.grid = column_grid<width>(stream, a, 16),
                       .x = input<T>(a.x),
                       .bias = input<T>(a.bias),
                       .y = output<T>(a.y)});
  });
}

void backward(const Stream& stream, const BiasGeluBackwardArgs& a) {
  check_groups("bias_gelu", a.rows, a.groups);
  with_kernel(a, {a.x, a.bias, a.dy, a.dx, a.dbias}, [&]<class T, int width, GeluForm form>() {
    const ColumnGrid grid = column_grid<width>(stream, a, 4);
    const StagedSums<T, 1> sums(stream, grid.rows, a.groups, a.columns, true, {a.dbias});
    launch(bias_gelu_backward_columns<T, width, form>, stream, a,
           BiasGelu<T>{.grid = grid,
                       .x = input<T>(a.x),
                       .bias = input<T>(a.bias),
                       .dy = input<T>(a.dy),
                       .dx = output<T>(a.dx),
                       .sums = sums.to()});
    sums.finish();
  });
}

void double_backward(const Stream& stream, const BiasGeluDoubleBackwardArgs& a) {
  check_groups("bias_gelu", a.rows, a.groups);
  with_kernel(a, {a.x, a.bias, a.dy, a.ddx, a.ddbias, a.dx2, a.dbias2, a.ddy},
              [&]<class T, int width, GeluForm form>() {
                const ColumnGrid grid = column_grid<width>(stream, a, 3);
                const StagedSums<T, 1> sums(stream, grid.rows, a.groups, a.columns, true,
                                            {a.dbias2});
                launch(bias_gelu_double_backward_columns<T, width, form>, stream, a,
                       BiasGelu<T>{.grid = grid,
                                   .x = input<T>(a.x),
                                   .bias = input<T>(a.bias),
                                   .dy = input<T>(a.dy),
                                   .ddx = input<T>(a.ddx),
                                   .ddbias = input<T>(a.ddbias),
                                   .dx = output<T>(a.dx2),
                                   .ddy = output<T>(a.ddy),
                                   .sums = sums.to()});
                sums.finish();
              });
}

/// Blocks of all groups and strips are one axis of the grid.
template <class Args> bool grid_fits(const Args& a) {
  const std::int64_t strips = (a.columns + 31) / 32;
  return strips == 0 || a.groups <= most_groups / strips;
}
constexpr const char* grid_in_words = "at most 2^35 elements of bias";

}  // namespace

void register_bias_gelu() {
  bias_gelu_forward.add({"columns", DeviceType::cuda, 10, grid_fits, forward, grid_in_words});
  bias_gelu_backward.add({"columns", DeviceType::cuda, 10, grid_fits, backward, grid_in_words});
  bias_gelu_double_backward.add(
      {"columns", DeviceType::cuda, 10, grid_fits, double_backward, grid_in_words});
}

}  // namespace mettle::kernels::cuda
