// Launching an emulated kernel. Twin of kernels/cuda/device_launch.cuh; included through
// kernels/cuda/device.cuh.
#pragma once

#include <memory>
#include <tuple>

#include "engine/device.h"
#include "kernels/cuda/device_types.cuh"
#include "kernels/emulation/runtime.h"

namespace mettle::dev {

namespace detail {

#if defined(METTLE_EMULATION_RACE)
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif

template <class... Parameters> struct Call {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;

  static void run(const void* call) {
    const auto& c = *static_cast<const Call*>(call);
    std::apply(c.kernel, c.arguments);
  }
};

}  // namespace detail

/// Runs the kernel on a Machine's stream, queues it on a driver's. Throws emulation::EmulationError
/// with what was found when it runs.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter");
  using Call = detail::Call<Parameters...>;
  emulation::launch(stream, {shape, detail::instrumented, Call::run,
                             std::make_shared<const Call>(Call{kernel, {arguments...}})});
}

}  // namespace mettle::dev
