// Copies and fills on a CUDA device.
#include "kernels/copy.h"

#include "kernels/cuda/copy.cuh"
#include "kernels/cuda/elementwise_launch.h"
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {
namespace {

dev::LaunchShape copy_shape(std::int64_t units, int units_of_thread) {
  const std::int64_t per_block = std::int64_t{units_of_thread} * copy_threads;
  return {{static_cast<int>((units + per_block - 1) / per_block)}, {copy_threads}};
}

/// Axes in the order of y in memory, so that neighbouring threads write neighbours.
Layout<2> in_order_of_y(const CopyArgs& args) {
  const auto stride = [&](int axis) {
    return args.y_strides[axis] < 0 ? -args.y_strides[axis] : args.y_strides[axis];
  };
  int order[max_rank];
  const int rank = args.shape.rank();
  for (int axis = 0; axis < rank; ++axis) {
    int at = axis;
    for (; at > 0 && stride(order[at - 1]) < stride(axis); --at) order[at] = order[at - 1];
    order[at] = axis;
  }
  Shape shape;
  Strides x, y;
  for (int i = 0; i < rank; ++i) {
    shape.push_back(args.shape[order[i]]);
    x.push_back(args.x_strides[order[i]]);
    y.push_back(args.y_strides[order[i]]);
  }
  return collapse<2>(shape, {&x, &y});
}

template <class Unit>
void copy_units(const Stream& stream, const void* x, void* y, const Layout<2>& l) {
  dev::launch(copy_kernel<Unit>, copy_shape(l.total, units_per_thread), stream,
              static_cast<const Unit*>(x), static_cast<Unit*>(y), strided_index(l));
}

void copy_units(const Stream& stream, std::size_t bytes, const void* x, void* y,
                const Layout<2>& l) {
  switch (bytes) {
    case 16: return copy_units<dev::Pack<std::uint32_t, 4>>(stream, x, y, l);
    case 8: return copy_units<std::uint64_t>(stream, x, y, l);
    case 4: return copy_units<std::uint32_t>(stream, x, y, l);
    case 2: return copy_units<std::uint16_t>(stream, x, y, l);
    default: return copy_units<std::uint8_t>(stream, x, y, l);
  }
}

/// Bytes of the largest unit in which the layout can move.
std::size_t largest_unit(const Layout<2>& l, const void* x, const void* y, std::size_t element) {
  const int last = l.rank - 1;
  if (l.rank == 0 || l.strides[0][last] != 1) return element;
  for (std::size_t bytes = 16; bytes > element; bytes /= 2) {
    const int pack = static_cast<int>(bytes / element);
    if ((l.rank == 1 || l.shape[last] % pack == 0) && runs_in_packs(l, 0, pack, x, element) &&
        runs_in_packs(l, 1, pack, y, element) && l.shape[last] >= pack)
      return bytes;
  }
  return element;
}

/// The layout counted in units of `pack` elements, for pointers to such units.
Layout<2> in_units(const Layout<2>& l, int pack) {
  Layout<2> units = in_packs(l, pack);
  for (auto& strides : units.strides)
    for (int axis = 0; axis < l.rank; ++axis) strides[axis] /= pack;
  return units;
}

void copy_runs(const Stream& stream, const void* x, void* y, const Layout<2>& l,
               std::size_t element) {
  const std::size_t unit = largest_unit(l, x, y, element);
  const auto pack = static_cast<int>(unit / element);
  if (pack == 1) return copy_units(stream, element, x, y, l);
  const std::int64_t rest = l.rank == 1 ? l.total % pack : 0;
  Layout<2> whole = l;
  if (rest > 0) whole.total = whole.shape[0] = l.total - rest;
  copy_units(stream, unit, x, y, in_units(whole, pack));
  if (rest == 0) return;
  const std::size_t done = static_cast<std::size_t>(whole.total) * element;
  Layout<2> tail = l;
  tail.total = tail.shape[0] = rest;
  copy_units(stream, element, static_cast<const std::byte*>(x) + done,
             static_cast<std::byte*>(y) + done, tail);
}

/// The axis along which x runs, where y runs along the last one and both are worth a tile; else -1.
int axis_to_turn(const Layout<2>& l) {
  constexpr std::int64_t worth = 8;
  const int last = l.rank - 1;
  if (l.rank < 2 || l.strides[1][last] != 1 || l.strides[0][last] == 0 || l.shape[last] < worth)
    return -1;
  for (int axis = 0; axis < last; ++axis)
    if (l.strides[0][axis] == 1 && l.shape[axis] >= worth) return axis;
  return -1;
}

template <class T>
void turn(const Stream& stream, const void* x, void* y, const Layout<2>& l, int axis) {
  constexpr std::int64_t side = tile_side<T>;
  const int last = l.rank - 1;
  Planes p;
  p.rows = l.shape[last];
  p.columns = l.shape[axis];
  p.x_row = l.strides[0][last];
  p.y_column = l.strides[1][axis];
  const std::int64_t across = (p.columns + side - 1) / side, down = (p.rows + side - 1) / side;
  p.tiles_across = Divider(across);
  p.tiles_down = Divider(down);
  Layout<2> plane;
  for (int i = 0; i < last; ++i) {
    if (i == axis) continue;
    plane.total *= plane.shape[plane.rank] = l.shape[i];
    for (int operand = 0; operand < 2; ++operand)
      plane.strides[operand][plane.rank] = l.strides[operand][i];
    ++plane.rank;
  }
  p.plane = strided_index(plane);
  const dev::LaunchShape shape = {{static_cast<int>(across * down * plane.total)},
                                  {dev::warp_size, tile_rows_at_once}};
  dev::launch(turn_kernel<T>, shape, stream, static_cast<const T*>(x), static_cast<T*>(y), p);
}

void copy_same(const Stream& stream, const CopyArgs& args, const Layout<2>& l) {
  const std::size_t element = size_of(args.x_dtype);
  const int axis = axis_to_turn(l);
  if (axis < 0) return copy_runs(stream, args.x, args.y, l, element);
  switch (element) {
    case 8: return turn<std::uint64_t>(stream, args.x, args.y, l, axis);
    case 4: return turn<std::uint32_t>(stream, args.x, args.y, l, axis);
    case 2: return turn<std::uint16_t>(stream, args.x, args.y, l, axis);
    default: return turn<std::uint8_t>(stream, args.x, args.y, l, axis);
  }
}

/// Conversions that a program does all the time, into dense memory, run as elementwise maps.
template <class X, class Y>
bool converted(const Stream& stream, const CopyArgs& args, const Layout<2>& l) {
  if (args.x_dtype != dtype_of<X> || args.y_dtype != dtype_of<Y>) return false;
  Layout<1> from;
  from.rank = l.rank;
  from.total = l.total;
  for (int axis = 0; axis < l.rank; ++axis) {
    from.shape[axis] = l.shape[axis];
    from.strides[0][axis] = l.strides[0][axis];
  }
  launch_map(stream, Convert<computed_t<Y>>{}, Pointers<X, 1>{{static_cast<const X*>(args.x)}},
             static_cast<Y*>(args.y), from);
  return true;
}

template <class X, class... Y>
bool converted_to(const Stream& stream, const CopyArgs& args, const Layout<2>& l) {
  return (converted<X, Y>(stream, args, l) || ...);
}

bool writes_dense(const Layout<2>& l) {
  std::int64_t stride = 1;
  for (int axis = l.rank - 1; axis >= 0; --axis) {
    if (l.strides[1][axis] != stride) return false;
    stride *= l.shape[axis];
  }
  return true;
}

void convert(const Stream& stream, const CopyArgs& args, const Layout<2>& l) {
  if (writes_dense(l) &&
      (converted_to<float, bf16, f16, double, bool, std::int64_t>(stream, args, l) ||
       converted_to<bf16, float>(stream, args, l) || converted_to<f16, float>(stream, args, l) ||
       converted_to<double, float>(stream, args, l) ||
       converted_to<bool, float, bf16, f16>(stream, args, l) ||
       converted_to<std::int64_t, float>(stream, args, l)))
    return;
  dev::launch(convert_kernel, copy_shape(l.total, 1), stream, args.x, args.x_dtype, args.y,
              args.y_dtype, strided_index(l));
}

void run_copy(const Stream& stream, const CopyArgs& args) {
  const Layout<2> l = in_order_of_y(args);
  if (l.total == 0) return;
  if (args.x_dtype == args.y_dtype)
    copy_same(stream, args, l);
  else
    convert(stream, args, l);
}

template <class T, class Bits> Bits fill_bits(double value) {
  if constexpr (std::is_same_v<T, bool>)
    return value != 0;
  else
    return std::bit_cast<Bits>(static_cast<T>(value));
}

template <class Bits> void fill_with(const Stream& stream, const FillArgs& args, Bits value) {
  constexpr std::int64_t pack = 16 / sizeof(Bits);
  const auto ahead = static_cast<int>(reinterpret_cast<std::uintptr_t>(args.y) % 16 / sizeof(Bits));
  dev::launch(fill_kernel<Bits>, copy_shape((args.n + ahead + pack - 1) / pack, 1), stream,
              static_cast<Bits*>(args.y), args.n, value, ahead);
}

void run_fill(const Stream& stream, const FillArgs& args) {
  if (args.n == 0) return;
  dispatch_any(args.dtype, [&]<class T>() {
    using Bits = std::conditional_t<
        sizeof(T) == 8, std::uint64_t,
        std::conditional_t<sizeof(T) == 4, std::uint32_t,
                           std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>>;
    fill_with<Bits>(stream, args, fill_bits<T, Bits>(args.value));
  });
}

void run_arange(const Stream& stream, const ArangeArgs& args) {
  if (args.n > 0) dev::launch(arange_kernel, copy_shape(args.n, 1), stream, args.y, args.n);
}

}  // namespace

void register_copy() {
  copy.add({"units", DeviceType::cuda, 0, nullptr, run_copy});
  fill.add({"packs", DeviceType::cuda, 0, nullptr, run_fill});
  arange.add({"elements", DeviceType::cuda, 0, nullptr, run_arange});
}

}  // namespace mettle::kernels::cuda
