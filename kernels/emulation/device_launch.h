// Launching an emulated kernel. Twin of kernels/cuda/device_launch.cuh; included through
// kernels/cuda/device.cuh.
#pragma once

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

/// Runs the kernel and returns when it is done. Throws emulation::EmulationError with what was
/// found.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter");
  const detail::Call<Parameters...> call{kernel, {arguments...}};
  emulation::launch(shape, stream, detail::instrumented, detail::Call<Parameters...>::run, &call);
}

}  // namespace mettle::dev
