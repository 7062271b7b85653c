// Laying out the shared memory of a block.
#include "kernels/emulation/shared_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "engine/asan.h"
#include "engine/check.h"
#include "kernels/cuda/device_types.cuh"

namespace mettle::emulation {

SharedArena::SharedArena()
    : valid_(mapped_bytes),
      flights_(mapped_bytes),
      senders_(mapped_bytes),
      shadow_(mapped_bytes, true) {
  void* mapped =
      mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  METTLE_CHECK(MemoryError, mapped != MAP_FAILED, "emulation: no {} bytes for shared memory",
               mapped_bytes);
  base_ = static_cast<std::byte*>(mapped);
  used_ = guard;
  forbid(base_, mapped_bytes);
}

SharedArena::~SharedArena() {
  allow(base_, mapped_bytes);
  munmap(base_, mapped_bytes);
}

void SharedArena::begin_block(std::size_t dynamic_bytes) {
  for (const Array& array : arrays_) {
    const std::size_t offset = offset_of(array.at);
    std::fill_n(valid_.begin() + static_cast<std::ptrdiff_t>(offset), array.bytes, std::uint8_t{0});
    std::ranges::fill(flights(array.at, array.bytes), std::uint16_t{0});
    forbid(array.at, array.bytes);
  }
  arrays_.clear();
  used_ = guard;
  dynamic_bytes_ = dynamic_bytes;
  static_bytes_ = 0;
}

bool SharedArena::valid(const void* address, std::size_t bytes) const {
  const std::size_t offset = offset_of(address);
  if (offset >= mapped_bytes || bytes > mapped_bytes - offset) return false;
  const std::uint8_t* at = valid_.data() + offset;
  return std::all_of(at, at + bytes, [](std::uint8_t byte) { return byte != 0; });
}

void* SharedArena::static_array(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const Array& array : arrays_)
    if (array.key == key) return array.at;
  if (static_bytes_ + bytes + dynamic_bytes_ > dev::max_shared_bytes) return nullptr;
  static_bytes_ += bytes;
  return place(key, 0, bytes, alignment);
}

void* SharedArena::dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment) {
  for (const Array& array : arrays_) {
    if (array.key) continue;
    if (array.offset == offset && array.bytes == bytes) return array.at;
    if (offset < array.offset + array.bytes && array.offset < offset + bytes) return nullptr;
  }
  if (offset + bytes > dynamic_bytes_) return nullptr;
  return place(nullptr, offset, bytes, alignment);
}

// Array limits keep the sum of bytes below 227 KiB; what is left of the arena is for red zones.
void* SharedArena::place(const void* key, std::size_t offset, std::size_t bytes,
                         std::size_t alignment) {
  const std::size_t unit = std::max(alignment, red_zone);
  const std::size_t start = (used_ + red_zone + unit - 1) / unit * unit;
  if (start + bytes + red_zone > guard + array_bytes) return nullptr;
  used_ = start + bytes;
  std::byte* at = base_ + start;
  allow(at, bytes);
  std::memset(at, 0xff, bytes);
  std::fill_n(valid_.begin() + static_cast<std::ptrdiff_t>(start), bytes, std::uint8_t{1});
  arrays_.push_back({key, offset, bytes, at});
  return at;
}

std::span<std::uint16_t> SharedArena::flights(const void* address, std::size_t bytes) {
  return {flights_.data() + offset_of(address), bytes};
}

std::span<Place> SharedArena::senders(const void* address, std::size_t bytes) {
  return {senders_.data() + offset_of(address), bytes};
}

}  // namespace mettle::emulation
