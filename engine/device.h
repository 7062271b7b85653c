// Where a tensor lives.
#pragma once

#include <cstdint>
#include <string>

namespace mettle {

enum class DeviceType : std::uint8_t { cpu, cuda };
inline constexpr int device_type_count = 2;

struct Device {
  DeviceType type = DeviceType::cpu;
  std::int16_t index = 0;

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index = 0) {
    return {DeviceType::cuda, static_cast<std::int16_t>(index)};
  }
  friend constexpr bool operator==(Device, Device) = default;
};

/// "cpu" or "cuda:1".
inline std::string to_string(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

/// A queue of work on one device: plain data, passed to every kernel. On the CPU work is done when
/// the call returns and `handle` is null; on CUDA it is a cudaStream_t.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace mettle
