// Functions of two and three arguments, comparisons and choices on a CUDA device.
#include "kernels/cuda/elementwise_launch.h"
#include "kernels/cuda/register.h"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cuda {
namespace {

template <class X, class Y, class F, class Args>
void map_two(const Stream& stream, const Args& args, const F& f) {
  const Pointers<X, 2> x = {{static_cast<const X*>(args.a), static_cast<const X*>(args.b)}};
  launch_map(stream, f, x, static_cast<Y*>(args.y),
             collapse<2>(args.shape, {&args.a_strides, &args.b_strides}));
}

void explain_division(std::int64_t position, std::int64_t, std::int64_t) {
  throw_division_by_zero(position);
}

template <class T> void map_integers(const Stream& stream, const BinaryArgs& args) {
  if (args.op == BinaryOp::div)
    map_two<T, T>(stream, args, CheckedQuotient<T>{fault_reporter(stream, explain_division)});
  else
    map_two<T, T>(stream, args, scalar::IntegerBinary<T>{args.op});
}

void run_binary(const Stream& stream, const BinaryArgs& args) {
  if (maps_integers(args.op, args.dtype)) {
    return args.dtype == DType::i64 ? map_integers<std::int64_t>(stream, args)
                                    : map_integers<std::int32_t>(stream, args);
  }
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        scalar::with_binary(args.op, [&](const auto& f) { map_two<T, T>(stream, args, f); });
      },
      "elementwise function");
}

void run_compare(const Stream& stream, const CompareArgs& args) {
  dispatch_any(args.dtype,
               [&]<class T>() { map_two<T, bool>(stream, args, scalar::Compare{args.op}); });
}

template <class T> void choose(const Stream& stream, const WhereArgs& args) {
  const Layout<3> l =
      collapse<3>(args.shape, {&args.condition_strides, &args.a_strides, &args.b_strides});
  if (l.total == 0) return;
  const auto* condition = static_cast<const bool*>(args.condition);
  const auto* a = static_cast<const T*>(args.a);
  const auto* b = static_cast<const T*>(args.b);
  T* y = static_cast<T*>(args.y);
  constexpr int pack = 16 / static_cast<int>(sizeof(T));
  if (maps_in_packs(l, pack, {condition, a, b}, {sizeof(bool), sizeof(T), sizeof(T)}, y,
                    sizeof(T))) {
    const MapIndex<3> index = map_index<pack>(l);
    dev::launch(where_kernel<pack, T>, map_shape(index.packs.total, packs_per_thread<pack>), stream,
                condition, a, b, y, index);
  } else {
    const MapIndex<3> index = map_index<1>(l);
    dev::launch(where_kernel<1, T>, map_shape(index.packs.total, packs_per_thread<1>), stream,
                condition, a, b, y, index);
  }
}

void run_where(const Stream& stream, const WhereArgs& args) {
  switch (size_of(args.dtype)) {
    case 1: return choose<std::uint8_t>(stream, args);
    case 2: return choose<std::uint16_t>(stream, args);
    case 4: return choose<std::uint32_t>(stream, args);
    default: return choose<std::uint64_t>(stream, args);
  }
}

void run_addcmul(const Stream& stream, const AddcmulArgs& args) {
  const Layout<3> l = collapse<3>(args.shape, {&args.x_strides, &args.a_strides, &args.b_strides});
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        const Pointers<T, 3> x = {{static_cast<const T*>(args.x), static_cast<const T*>(args.a),
                                   static_cast<const T*>(args.b)}};
        using C = computed_t<T>;
        launch_map(stream, scalar::Addcmul<C>{static_cast<C>(args.scale)}, x,
                   static_cast<T*>(args.y), l);
      },
      "addcmul");
}

}  // namespace

void register_elementwise() {
  register_elementwise_unary();
  binary.add({"packs", DeviceType::cuda, 0, nullptr, run_binary});
  compare.add({"packs", DeviceType::cuda, 0, nullptr, run_compare});
  where.add({"packs", DeviceType::cuda, 0, nullptr, run_where});
  addcmul.add({"packs", DeviceType::cuda, 0, nullptr, run_addcmul});
}

}  // namespace mettle::kernels::cuda
