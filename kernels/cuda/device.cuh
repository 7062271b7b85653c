// The device vocabulary: the one include of a kernel, and the one place that asks which compiler
// this is. Under nvcc the words are CUDA and PTX; under a host compiler they are the emulation,
// which runs the same source on the CPU and checks it (docs/cuda-emulation.md).
//
//   METTLE_GLOBAL(256) void scale(float* x, float a, int n) {
//     const int i = dev::block_index().x * dev::block_size().x + dev::thread_index().x;
//     if (i < n) x[i] *= a;
//   }
//   dev::launch(scale, {.grid = {blocks}, .block = {256}}, stream, x, 2.0f, n);
#pragma once

#include "kernels/cuda/device_types.cuh"

#if defined(__CUDACC__)
#include "kernels/cuda/device_async.cuh"
#include "kernels/cuda/device_core.cuh"
#include "kernels/cuda/device_launch.cuh"
#include "kernels/cuda/device_mma.cuh"
#include "kernels/cuda/device_tma.cuh"
#include "kernels/cuda/device_wgmma.cuh"
#else
#include "kernels/emulation/device_async.h"
#include "kernels/emulation/device_core.h"
#include "kernels/emulation/device_launch.h"
#include "kernels/emulation/device_mma.h"
#include "kernels/emulation/device_tma.h"
#include "kernels/emulation/device_wgmma.h"
#endif

#include "kernels/cuda/device_swizzle.cuh"
#include "kernels/cuda/device_warp.cuh"
