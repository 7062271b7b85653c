// Device memory. Each device has one allocator; the CPU's keeps freed blocks for reuse within a
// bound, because a training step asks for the same sizes again and again and fresh pages cost more
// than the work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/device.h"

namespace mettle {

/// Bytes and counts since the start of the process. "live" is handed out, "cached" waits for reuse.
/// The peak is seen to within 64 KiB for each thread, and exactly while a bound on live bytes is
/// set.
struct AllocatorStats {
  std::size_t live_bytes = 0;
  std::size_t live_blocks = 0;
  std::size_t peak_live_bytes = 0;
  std::size_t cached_bytes = 0;
  std::uint64_t allocations = 0;   // requests
  std::uint64_t system_calls = 0;  // requests that the cache could not serve
};

/// Thread-safe. Blocks are aligned to 64 bytes.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// At least `bytes` bytes, uninitialised; null for 0. Throws MemoryError with the statistics when
  /// the system or the configured limit refuses.
  virtual void* allocate(std::size_t bytes) = 0;
  /// Gives back a block of allocate(bytes).
  virtual void deallocate(void* block, std::size_t bytes) noexcept = 0;
  virtual AllocatorStats stats() const = 0;
  /// Returns all cached blocks to the system.
  virtual void trim() noexcept = 0;
  /// Upper bounds in bytes on what is handed out and on what waits for reuse.
  virtual void set_limits(std::size_t live_bytes, std::size_t cached_bytes) = 0;
};

/// The allocator of a device. Throws DeviceError for a device that this build or machine does not
/// have.
Allocator& allocator(Device device);

}  // namespace mettle
