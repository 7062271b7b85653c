// Kernel tests of the CPU.
#include "tests/kernels/device_under_test.h"

namespace mettle::test {

Device device_under_test() { return Device::cpu(); }

}  // namespace mettle::test
