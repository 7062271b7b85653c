// In programs whose device queues its work: waits after each test, so that what a kernel was found
// to do wrong belongs to the test that queued it.
#include <gtest/gtest.h>

#include <exception>

#include "tests/kernels/device_under_test.h"

namespace mettle::test {
namespace {

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
}  // namespace mettle::test
