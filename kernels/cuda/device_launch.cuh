// Launching a kernel under nvcc. Twin of kernels/emulation/device_launch.h; meant to be included
// through device.cuh.
#pragma once

#include <cuda_runtime.h>

#include <tuple>

#include "engine/device.h"
#include "kernels/cuda/device_types.cuh"
#include "kernels/cuda/launch_error.h"

namespace mettle::dev {

namespace detail {

inline void check_launch(cudaError_t error) {
  if (error != cudaSuccess) throw_launch_error(cudaGetErrorString(error));
}

inline dim3 cuda_size(const Dim3& size) {
  return {static_cast<unsigned>(size.x), static_cast<unsigned>(size.y),
          static_cast<unsigned>(size.z)};
}

}  // namespace detail

/// Queues the kernel on the stream. Throws DeviceError when the launch is refused.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter");
  constexpr std::size_t granted_without_asking = 48 << 10;
  const auto* function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > granted_without_asking)
    detail::check_launch(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              static_cast<int>(shape.shared_bytes)));
  std::tuple<Parameters...> values(arguments...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        detail::check_launch(cudaLaunchKernel(
            function, detail::cuda_size(shape.grid), detail::cuda_size(shape.block), pointers,
            shape.shared_bytes, static_cast<cudaStream_t>(stream.handle)));
      },
      values);
}

}  // namespace mettle::dev
