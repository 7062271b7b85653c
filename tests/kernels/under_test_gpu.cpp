// Kernel tests of the CUDA kernels on the first GPU.
#include <gtest/gtest.h>

#include <exception>

#include "tests/kernels/device_under_test.h"

namespace mettle::test {
namespace {

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

Device device_under_test() { return Device::cuda(0); }

}  // namespace mettle::test
