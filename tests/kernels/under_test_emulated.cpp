// Kernel tests of the CUDA kernels on the emulated device. METTLE_EMULATION_SEED draws another
// order of threads, blocks and streams; METTLE_EMULATION_CAPABILITY=8 makes it a device that lacks
// what came with compute capability 9.0.
#include <cstdlib>
#include <string>

#include "engine/cuda_driver.h"
#include "kernels/cuda/register.h"
#include "kernels/emulation/driver.h"
#include "tests/kernels/device_under_test.h"

namespace mettle::test {
namespace {

Device set_up() {
  const char* seed = std::getenv("METTLE_EMULATION_SEED");
  emulation::DriverOptions options;
  options.machine.seed = seed ? std::stoull(seed) : 0;
  const char* capability = std::getenv("METTLE_EMULATION_CAPABILITY");
  if (capability) options.capability_major = std::stoi(capability);
  set_cuda_driver(std::make_shared<emulation::EmulatedDriver>(options));
  kernels::cuda::register_kernels();
  return Device::cuda(0);
}

}  // namespace

Device device_under_test() {
  static const Device device = set_up();
  return device;
}

}  // namespace mettle::test
