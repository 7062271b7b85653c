// Bytes from one device to another, on the devices' current streams.
#pragma once

#include <cstddef>

#include "engine/device.h"

namespace mettle {

/// To the host: waits for the device's work and the bytes. To a device: queued; `from` may change
/// when the call returns. Between two devices: through the host. No overlap. Throws DeviceError.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device,
                std::size_t bytes);

void fill_bytes(void* to, int byte, std::size_t bytes, Device device);

}  // namespace mettle
