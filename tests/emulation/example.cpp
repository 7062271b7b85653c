// The example of docs/cuda-emulation.md and of kernels/cuda/device.cuh.
#include "kernels/cuda/device.cuh"
#include "kernels/emulation/machine.h"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {
namespace {

METTLE_GLOBAL(256) void scale(float* x, float a, int n) {
  const int i = dev::block_index().x * dev::block_size().x + dev::thread_index().x;
  if (i < n) x[i] *= a;
}

}  // namespace

bool the_example_doubles() {
  emulation::Machine machine({.seed = 3});   // kernels/emulation/machine.h
  float* x = machine.allocate<float>(1000);  // device memory that the host can touch as well
  for (int i = 0; i < 1000; ++i) x[i] = static_cast<float>(i);
  dev::launch(scale, {{4}, {256}}, machine.stream(), x, 2.0f, 1000);

  for (int i = 0; i < 1000; ++i)
    if (x[i] != 2.0f * static_cast<float>(i)) return false;
  return true;
}

}  // namespace mettle::emulation_test
