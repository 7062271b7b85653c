// The correctly rounded square root, which both compilers call by the same name.
#pragma once

#include <math.h>  // NOLINT(modernize-deprecated-headers): the names outside of std

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

METTLE_DEVICE float square_root(float x) { return sqrtf(x); }
METTLE_DEVICE double square_root(double x) { return sqrt(x); }

}  // namespace mettle::kernels::cuda
