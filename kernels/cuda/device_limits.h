// What the host side of a kernel asks about the device before it chooses a grid.
#pragma once

#include "engine/device.h"

namespace mettle::kernels::cuda {

struct DeviceLimits {
  int multiprocessors;
  int capability;            // 80, 90, 100, ...
  std::size_t shared_bytes;  // that a block can have
};
DeviceLimits device_limits(const Stream& stream);

}  // namespace mettle::kernels::cuda
