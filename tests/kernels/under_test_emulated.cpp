// Kernel tests of the CUDA kernels on the emulated device. METTLE_EMULATION_SEED draws another
// order of threads, blocks and streams.
#include <gtest/gtest.h>

#include <cstdlib>
#include <exception>
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
  set_cuda_driver(std::make_shared<emulation::EmulatedDriver>(options));
  kernels::cuda::register_kernels();
  return Device::cuda(0);
}

// What a kernel was found to do wrong belongs to the test that queued it.
class Waits final : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    try {
      synchronize(device_under_test());
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
  }
};

const bool listening = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new Waits);
  return true;
}();

}  // namespace

Device device_under_test() {
  static const Device device = set_up();
  return device;
}

}  // namespace mettle::test
