// Kernel tests of the CUDA kernels on the first GPU.
#include "tests/kernels/device_under_test.h"

namespace mettle::test {

Device device_under_test() { return Device::cuda(0); }

}  // namespace mettle::test
