// Which copy a pair of devices takes.
#include "engine/transfer.h"

#include <cstring>
#include <memory>

#include "engine/cuda_device.h"
#include "engine/exec.h"

namespace mettle {

void copy_bytes(void* to, Device to_device, const void* from, Device from_device,
                std::size_t bytes) {
  if (bytes == 0) return;
  const bool to_host = to_device == Device::cpu(), from_host = from_device == Device::cpu();
  if (to_host && from_host) {
    std::memcpy(to, from, bytes);
  } else if (from_host) {
    cuda_device(to_device).upload(to, from, bytes, current_stream(to_device));
  } else if (to_host) {
    cuda_device(from_device).download(to, from, bytes, current_stream(from_device));
  } else if (to_device == from_device) {
    cuda_device(to_device).driver().copy(to, from, bytes, current_stream(to_device));
  } else {
    const auto staged = std::make_unique<std::byte[]>(bytes);
    copy_bytes(staged.get(), Device::cpu(), from, from_device, bytes);
    copy_bytes(to, to_device, staged.get(), Device::cpu(), bytes);
  }
}

void fill_bytes(void* to, int byte, std::size_t bytes, Device device) {
  if (bytes == 0) return;
  if (device == Device::cpu()) {
    std::memset(to, byte, bytes);
  } else {
    cuda_device(device).driver().fill(to, byte, bytes, current_stream(device));
  }
}

}  // namespace mettle
