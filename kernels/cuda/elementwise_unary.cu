// Functions of one argument on a CUDA device.
#include "kernels/cuda/elementwise_launch.h"
#include "kernels/cuda/register.h"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cuda {
namespace {

template <class T, class F> void map_one(const Stream& stream, const UnaryArgs& args, const F& f) {
  const Pointers<T, 1> x = {{static_cast<const T*>(args.x)}};
  launch_map(stream, f, x, static_cast<T*>(args.y), collapse<1>(args.shape, {&args.x_strides}));
}

template <class T> void map_integer(const Stream& stream, const UnaryArgs& args) {
  map_one<T>(
      stream, args,
      scalar::IntegerUnary<T>{args.op, static_cast<T>(args.alpha), static_cast<T>(args.beta)});
}

void run_unary(const Stream& stream, const UnaryArgs& args) {
  if (maps_integers(args.op, args.dtype)) {
    return args.dtype == DType::i64 ? map_integer<std::int64_t>(stream, args)
                                    : map_integer<std::int32_t>(stream, args);
  }
  dispatch_float(
      args.dtype,
      [&]<class T>() {
        scalar::with_unary<computed_t<T>>(args.op, args.alpha, args.beta,
                                          [&](const auto& f) { map_one<T>(stream, args, f); });
      },
      "elementwise function");
}

}  // namespace

void register_elementwise_unary() { unary.add({"packs", DeviceType::cuda, 0, nullptr, run_unary}); }

}  // namespace mettle::kernels::cuda
